"""Detection metrics, precision-recall curves and error analysis."""
