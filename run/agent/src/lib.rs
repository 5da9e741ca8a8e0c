//! Makes one node match its assignments.
