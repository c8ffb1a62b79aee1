"""What the measurements share: the proxies under test, a loop that plays both ends, HTTP/2 frames."""
