//! Where a PostgreSQL address points, so that a server that is not there is said before anything
//! is made.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::exit::{Exit, Failure};

/// How long the database server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives host and TCP port of a PostgreSQL address; none for a socket on this machine.
pub(crate) fn address(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_string()).next_back()
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or_default()),
        None => authority.rsplit_once(':').unwrap_or((authority, "")),
    };
    let host = parameter("host").unwrap_or_else(|| host.to_string());
    if host.starts_with('/') || host.starts_with("%2F") || host.starts_with("%2f") {
        return None;
    }
    let port = parameter("port").unwrap_or_else(|| port.to_string());
    let port = if port.is_empty() { 5432 } else { port.parse().ok()? };
    let host = if host.is_empty() { "localhost".into() } else { host };
    Some((host, port))
}

/// Refuses an address that is none, or at which nobody listens.
pub(crate) fn reach(url: &str) -> Result<(), Failure> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let text = "a store looks like `postgres://palisade@db.example/palisade`";
        return Err(Failure::new(Exit::Usage, text));
    }
    // Control's sandbox lets it connect to one TCP port and to nothing else.
    let Some((host, port)) = address(url) else {
        let text = "a store is reached by host and port, not by a socket in a folder; name its host in --store";
        return Err(Failure::new(Exit::Usage, text));
    };
    let refused = |why: &dyn std::fmt::Display| {
        let text = format!("no PostgreSQL at `{host}:{port}`: {why}; start it or mend --store");
        Failure::new(Exit::Store, text)
    };
    let addresses = (host.as_str(), port).to_socket_addrs().map_err(|e| refused(&e))?;
    let mut last = refused(&"the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(e) => last = refused(&e),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_a_folder_is_refused_with_what_to_do() {
        for url in ["postgres:///x?host=/run/postgresql", "postgres://%2Frun%2Fpostgresql/x"] {
            let refused = reach(url).unwrap_err();
            assert_eq!(refused.exit, Exit::Usage);
            assert!(refused.line().contains("host and port"), "{}", refused.line());
        }
    }

    #[test]
    fn an_address_is_read_as_postgresql_reads_it() {
        let cases = [
            ("postgres://palisade:p@ss@db.example:5433/palisade", Some(("db.example", 5433))),
            ("postgresql://db/palisade?sslmode=require", Some(("db", 5432))),
            ("postgres://[::1]:1/x", Some(("::1", 1))),
            ("postgres://[::1]/x", Some(("::1", 5432))),
            ("postgres:///palisade", Some(("localhost", 5432))),
            ("postgres:///x?host=db&port=7", Some(("db", 7))),
            ("postgres:///x?host=/run/postgresql", None),
            ("postgres://%2Frun%2Fpostgresql/x", None),
            ("mysql://db", None),
        ];
        for (url, expected) in cases {
            let expected = expected.map(|(host, port)| (host.to_string(), port));
            assert_eq!(address(url), expected, "{url}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_has_a_code_of_its_own() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://127.0.0.1:{port}/x");
        reach(&url).unwrap();
        drop(listener);
        assert_eq!(reach(&url).unwrap_err().exit, Exit::Store);
        assert_eq!(reach("sqlite://x").unwrap_err().exit, Exit::Usage);
    }
}
