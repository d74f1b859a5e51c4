//! Where a server is, as a person writes it.

use std::path::{Path, PathBuf};

use crate::client::Pin;
use crate::exit::{Exit, Failure};

/// Where a server is and how it proves itself.
pub(crate) enum Place {
    /// On this machine: the socket's permissions prove both sides.
    Local(PathBuf),
    /// Elsewhere: TLS, with a root that we were told.
    Remote {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
        /// The root that must stand above its certificate.
        pin: Pin,
    },
}

impl Place {
    /// Reads `https://host:port`, `host:port` or `host`.
    pub(crate) fn remote(text: &str, pin: Pin) -> Result<Self, Failure> {
        let (host, port) = host_and_port(text).ok_or_else(|| {
            let wanted = "a server looks like `https://palisade.example:8443`";
            Failure::new(Exit::Usage, format!("`{text}` is no server; {wanted}"))
        })?;
        Ok(Self::Remote { host, port, pin })
    }

    /// Gives the value of the `Host` header.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Local(_) => "localhost".into(),
            Self::Remote { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Remote { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// Says what is wrong when the local socket does not answer.
pub(super) fn not_running(socket: &Path, error: &std::io::Error) -> Failure {
    let data = socket.parent().and_then(Path::parent).unwrap_or(socket).display();
    let text = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => format!(
            "nothing runs on `{data}`; start it with `palisade up`, or name its folder with \
             --data or another server with --server"
        ),
        std::io::ErrorKind::PermissionDenied => {
            format!("this user may not use `{data}`; run as the user that runs `palisade up`")
        }
        _ => format!("cannot reach the server on `{data}`: {error}"),
    };
    Failure::new(Exit::Unreachable, text)
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let rest = text.strip_prefix("https://").unwrap_or(text);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains("://") || rest.contains('/') || rest.contains('@') || rest.is_empty() {
        return None;
    }
    if let Some((host, port)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let port = if port.is_empty() { Some(8443) } else { port.strip_prefix(':')?.parse().ok() };
        let host: std::net::Ipv6Addr = host.parse().ok()?;
        return Some((host.to_string(), port?));
    }
    if let Ok(ip) = rest.parse::<std::net::Ipv6Addr>() {
        return Some((ip.to_string(), 8443));
    }
    match rest.split_once(':') {
        Some((host, port)) if !host.is_empty() => Some((host.to_string(), port.parse().ok()?)),
        Some(_) => None,
        None => Some((rest.to_string(), 8443)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_as_people_write_it() {
        let cases = [
            ("https://palisade.example:9443", Some(("palisade.example", 9443))),
            ("https://palisade.example/", Some(("palisade.example", 8443))),
            ("palisade.example", Some(("palisade.example", 8443))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:9443", Some(("::1", 9443))),
            ("::1", Some(("::1", 8443))),
            ("http://palisade.example", None),
            ("https://user@palisade.example", None),
            ("https://palisade.example/v1", None),
            ("palisade.example:port", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(host, port)| (host.to_string(), port));
            assert_eq!(host_and_port(text), expected, "{text}");
        }
    }
}
