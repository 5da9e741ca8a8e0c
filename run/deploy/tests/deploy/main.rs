//! Plans, rollouts and removals step by step: each rule once, with the words that people read.

mod draining;
mod failing;
mod house;
mod losing;
mod ordering;
mod placing;
mod planning;
mod ports;
mod preempting;
mod queueing;
mod quotas;
mod removing;
mod retention;
mod rolling;
mod secrets;
mod standing;
mod together;
mod volumes;
mod waiting;
