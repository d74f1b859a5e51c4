//! Whose address it is: what strangers may take or try is counted by it.

use core::net::{IpAddr, Ipv6Addr};

/// The addresses that one subscriber is given as a whole: one of IPv4, or a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// Gives the network of an address; one of IPv4 written as IPv6 counts as what it is.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => {
                let [a, b, c, d, ..] = ip.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
            ip => Self(ip),
        }
    }

    /// Whether it is this machine itself.
    pub fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    #[test]
    fn one_subscriber_is_one_network() {
        assert_eq!(network("2001:db8::1"), network("2001:db8::2:0:0:3"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
    }

    #[test]
    fn this_machine_is_itself_however_it_is_written() {
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(network(text).is_loopback(), "{text}");
        }
        assert!(!network("::2").is_loopback());
    }
}
