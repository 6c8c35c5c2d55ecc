"""What training minimizes: which object each anchor predicts, and the losses."""
