//! The edge as the API sees it: counters, and who connected.

use freehold_api::{AccessLines, ClosedPort, EdgePort};
use freehold_edge::Observer;
use freehold_model::{
    Code, EndpointId, Problem,
    manifest::Protocol,
    traffic::{AccessQuery, EndpointTraffic},
};
use futures::{StreamExt, stream};

/// The door through which the API looks.
#[derive(Clone)]
pub(crate) struct Window(pub(crate) Observer);

impl EdgePort for Window {
    fn try_port(&self, protocol: Protocol, port: u16) -> Result<(), ClosedPort> {
        let told = |it: freehold_edge::ClosedPort| ClosedPort {
            reason: it.reason,
            is_ours: it.is_ours,
            is_taken: it.is_taken,
        };
        self.0.try_port(protocol, port).map_err(told)
    }

    fn traffic(&self, endpoint: EndpointId) -> Option<EndpointTraffic> {
        self.0.traffic(endpoint)
    }

    fn access(&self, endpoint: EndpointId, query: AccessQuery) -> AccessLines {
        let chunks = self.0.access(endpoint, query);
        let chunks = stream::unfold(chunks, async |mut chunks| Some((chunks.recv().await?, chunks)));
        chunks
            .map(|chunk| {
                chunk.map_err(|error| {
                    Problem::new(Code::Internal, format!("the access log cannot be read: {error}"))
                })
            })
            .boxed()
    }
}
