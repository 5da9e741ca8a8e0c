//! Proxies TCP traffic to instances.
