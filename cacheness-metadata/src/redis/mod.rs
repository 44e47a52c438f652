//! Entries in Redis, shared by many machines. Every call is one script or command, and one round trip.

mod backend;
mod changes;
mod config;
mod connect;
mod deadline;
mod failure;
mod layout;
mod leases;
mod limits;
mod ops;
mod outcomes;
mod ranking;
mod reading;
mod reply;
mod rules;
mod scripts;
mod server;
mod store;
mod sweeping;
mod writing;

pub use config::RedisMetadataFactory;
