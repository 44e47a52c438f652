//! Hosts of a test's own: network namespaces of Linux that are joined by a bridge, on which proxies stand for the servers.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

/// So many hosts. They are gone with this value.
pub struct Hosts {
    name: String,
    subnet: u8,
    count: u8,
}

impl Hosts {
    /// Makes the hosts, for which this must run as root.
    pub fn new(count: u8) -> Self {
        assert!(rustix::process::geteuid().is_root(), "network namespaces are made by root only");
        let id = std::process::id();
        // Names of interfaces have up to 15 characters.
        let hosts = Self { name: format!("cn{id:x}"), subnet: (id % 250) as u8 + 1, count };
        let bridge = &hosts.name;
        hosts.ip(&["link", "add", bridge, "type", "bridge"]);
        hosts.ip(&["addr", "add", &format!("{}/24", hosts.gateway()), "dev", bridge]);
        hosts.ip(&["link", "set", bridge, "up"]);
        for host in 0..count {
            let (space, inside, outside) = (hosts.space(host), hosts.inside(host), hosts.outside(host));
            hosts.ip(&["netns", "add", &space]);
            hosts.ip(&["link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", &space]);
            hosts.ip(&["link", "set", &outside, "master", bridge, "up"]);
            let address = format!("10.213.{}.{}/24", hosts.subnet, host + 2);
            hosts.ip(&["-n", &space, "addr", "add", &address, "dev", &inside]);
            hosts.ip(&["-n", &space, "link", "set", &inside, "up"]);
            hosts.ip(&["-n", &space, "link", "set", "lo", "up"]);
        }
        hosts
    }

    /// Where all hosts reach this one.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, 1)
    }

    /// A program that runs on one of the hosts.
    pub fn on(&self, host: u8, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(host)]).arg(program);
        command
    }

    /// Plugs a host's cable out, or in again: what it sends is lost, and nobody tells it.
    pub fn plug(&self, host: u8, plugged: bool) {
        self.ip(&["link", "set", &self.outside(host), if plugged { "up" } else { "down" }]);
    }

    fn space(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    fn inside(&self, host: u8) -> String {
        format!("{}i{host}", self.name)
    }

    fn outside(&self, host: u8) -> String {
        format!("{}o{host}", self.name)
    }

    fn ip(&self, arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 0..self.count {
            let _ = Command::new("ip").args(["netns", "del", &self.space(host)]).output();
        }
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
    }
}
