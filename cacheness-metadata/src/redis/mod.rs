//! Entries in Redis, shared by many machines. Every call is one script or command, and one round trip.

mod backend;
mod changes;
mod config;
mod connect;
mod failure;
mod layout;
mod leases;
mod limits;
mod reading;
mod reply;
mod rules;
mod scripts;
mod server;
mod store;
mod sweeping;
mod writing;

pub use config::RedisMetadataFactory;
