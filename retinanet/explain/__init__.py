"""Why a detection was made: Grad-CAM and its report."""
