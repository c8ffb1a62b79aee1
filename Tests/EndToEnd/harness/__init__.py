"""End-to-end harness: starts a real proxy on an Envoy file, speaks to it byte by byte, and reads
back everything that can be observed: responses, what the upstream got, log records, statistics."""
