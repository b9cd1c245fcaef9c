//! A client of the AWS APIs that the command line needs, signed like any other.
