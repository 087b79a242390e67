"""One module for each AWS service; the IAM actions stand beside the calls."""
