"""What tests share: servers, a proxy that can fail, processes, and ways to wait for facts."""
