"""The dock with the confusion matrix."""
