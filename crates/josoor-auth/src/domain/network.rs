//! Networks, as limits and queues count them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What counts as one network: an IPv4 address, or the /64 of an IPv6 address, the least that one customer gets.
///
/// All spellings of an address are one network, IPv4 in IPv6 form included. An IPv6 network also lies in a /56 and a /48,
/// which many providers give to one customer: see [`levels`](Self::levels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// One IPv4 address. Wider IPv4 networks are not counted: a whole organisation may share one address.
    V4(Ipv4Addr),
    /// The upper 64 bits of an IPv6 address.
    V6(u64),
    /// Whatever is no address, all together.
    Unknown,
}

/// The widths of an IPv6 network that are counted, and how many times the quota of a /64 each of them has.
static LEVELS: [(u32, u32); 3] = [(64, 1), (56, 4), (48, 16)];

/// The one form of an address: IPv4 for what is IPv4 in IPv6 form (RFC 4291, 2.5.5.2), and for what a NAT64 translates to the
/// well-known prefix `64:ff9b::/96`, which stands for global addresses only (RFC 6052, 3.1).
pub fn canonical_address(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    let IpAddr::V6(translated) = address else {
        return address;
    };
    let [.., high, low] = translated.segments();
    let embedded = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let is_global = !embedded.is_loopback()
        && !embedded.is_private()
        && !embedded.is_link_local()
        && !embedded.is_unspecified();
    if translated.segments().starts_with(&NAT64) && is_global {
        IpAddr::V4(embedded)
    } else {
        address
    }
}

/// The first 96 bits of the well-known prefix of NAT64.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

impl Network {
    /// The network of an address, with or without a zone. `None` for the empty text: the command line is not counted.
    pub fn of(ip: &str) -> Option<Self> {
        if ip.is_empty() {
            return None;
        }
        let without_zone = ip.split_once('%').map_or(ip, |(address, _)| address);
        Some(match without_zone.parse::<IpAddr>().map(canonical_address) {
            Ok(IpAddr::V4(address)) => Self::V4(address),
            Ok(IpAddr::V6(address)) => Self::V6(u64::try_from(u128::from(address) >> 64).unwrap_or_default()),
            Err(_) => Self::Unknown,
        })
    }

    /// The networks that have a bucket of their own, narrowest first, each with its name and how many times the quota it
    /// has. One for IPv4; for IPv6 the /64, the /56 with 4 times and the /48 with 16 times the quota.
    pub fn levels(self) -> impl Iterator<Item = (String, u32)> {
        let widths = match self {
            Self::V6(_) => &LEVELS[..],
            Self::V4(_) | Self::Unknown => &LEVELS[..1],
        };
        widths
            .iter()
            .map(move |(width, factor)| (self.name(*width), *factor))
    }

    /// How many of the waiting `others` share this network at each level, as a share of what that level may have: the
    /// largest one counts.
    pub fn crowd(self, others: impl Iterator<Item = Self>) -> u64 {
        let mut counts = [0_u64; LEVELS.len()];
        for other in others {
            match (self, other) {
                (Self::V6(one), Self::V6(other)) => {
                    for (count, (width, _)) in counts.iter_mut().zip(LEVELS) {
                        *count += u64::from((one ^ other) >> (64 - width) == 0);
                    }
                }
                (one, other) => counts[0] += u64::from(one == other),
            }
        }
        let shares = counts.iter().zip(LEVELS);
        shares
            .map(|(count, (_, factor))| count / u64::from(factor))
            .max()
            .unwrap_or_default()
    }

    fn name(self, width: u32) -> String {
        match self {
            Self::V4(address) => address.to_string(),
            Self::V6(upper) => {
                let kept = upper & (u64::MAX << (64 - width));
                format!("{}/{width}", Ipv6Addr::from(u128::from(kept) << 64))
            }
            Self::Unknown => "unknown".to_owned(),
        }
    }
}

/// As its narrowest level is called.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name(LEVELS[0].0))
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn names(ip: &str) -> Vec<(String, u32)> {
        Network::of(ip).into_iter().flat_map(Network::levels).collect()
    }

    #[test]
    fn t59_one_network_has_one_name() {
        for alias in [
            "192.0.2.7",
            "::ffff:192.0.2.7",
            "::FFFF:c000:207",
            "0:0:0:0:0:ffff:192.0.2.7",
            // D19: a NAT64 gives every IPv4 client an address of one IPv6 network.
            "64:ff9b::192.0.2.7",
            "64:ff9b:0:0:0:0:c000:207",
        ] {
            assert_eq!(names(alias), [("192.0.2.7".to_owned(), 1)], "{alias}");
        }
        for alias in [
            "2001:db8:1:2::",
            "2001:DB8:1:2::1",
            "2001:0db8:0001:0002:ffff:ffff:ffff:ffff",
            "2001:db8:1:2:0:0:0:7%eth0",
        ] {
            assert_eq!(Network::of(alias), Network::of("2001:db8:1:2::9"), "{alias}");
        }
        assert_ne!(Network::of("2001:db8:1:3::1"), Network::of("2001:db8:1:2::1"));
        for other in ["64:ff9b::10.0.0.7", "64:ff9b::127.0.0.1", "64:ff9b:1::192.0.2.7"] {
            assert!(matches!(Network::of(other), Some(Network::V6(_))), "{other}");
        }
        assert_ne!(Network::of("192.0.2.8"), Network::of("192.0.2.7"));
        assert_eq!(Network::of("nonsense"), Network::of("a, b"));
        assert_eq!(names("nonsense"), [("unknown".to_owned(), 1)]);
        assert_eq!(Network::of(""), None);
    }

    #[test]
    fn c8_a_v6_network_counts_at_three_widths() {
        let expected = [
            ("2001:db8:1:2345::/64", 1),
            ("2001:db8:1:2300::/56", 4),
            ("2001:db8:1::/48", 16),
        ];
        let expected = expected.map(|(name, factor)| (name.to_owned(), factor));
        assert_eq!(names("2001:db8:1:2345::7"), expected);
        assert_eq!(names("::1")[2].0, "::/48");
    }

    #[test]
    fn c8_the_crowd_of_a_wider_network_weighs_less() {
        let of = |ip: &str| Network::of(ip).unwrap();
        let crowd = |ip: &str, others: &[&str]| of(ip).crowd(others.iter().map(|ip| of(ip)));
        assert_eq!(
            crowd("192.0.2.1", &["192.0.2.1", "192.0.2.2", "192.0.2.1", "::2"]),
            2
        );
        let of_one_56: Vec<_> = (0..8).map(|number| format!("2001:db8:1:1{number}::1")).collect();
        let of_one_56: Vec<_> = of_one_56.iter().map(String::as_str).collect();
        assert_eq!(crowd("2001:db8:1:1f::1", &of_one_56), 2);
        assert_eq!(crowd("2001:db8:1:10::1", &of_one_56), 2);
        assert_eq!(crowd("2001:db8:1:ff10::1", &of_one_56), 0);
        let of_one_48: Vec<_> = (0..32)
            .map(|number| format!("2001:db8:1:{number:x}00::1"))
            .collect();
        let of_one_48: Vec<_> = of_one_48.iter().map(String::as_str).collect();
        assert_eq!(crowd("2001:db8:1:ff00::1", &of_one_48), 2);
        assert_eq!(crowd("2001:db8:2:ff00::1", &of_one_48), 0);
    }
}
