"""What tests share: small networks, data sets, servers and workspaces."""
