"""The published gRPC protocols, under the names of both generations."""
