"""The CDK app: what is deployed."""
