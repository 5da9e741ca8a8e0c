//! The HTTP contract and its handlers; emits OpenAPI.
