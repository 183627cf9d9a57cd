"""What a user holds, one file a thing."""
