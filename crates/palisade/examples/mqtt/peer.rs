//! A Mosquitto with mutual TLS 1.3 and an ACL file that says what the starter policy says.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::process::Processes;
use crate::rig::device::Device;
use crate::wire::Target;

pub(crate) struct Mosquitto {
    child: Child,
    address: SocketAddr,
    certificate: PathBuf,
}

impl Mosquitto {
    /// Starts it on the servers' core.
    pub(crate) fn start(folder: &Path, anchors: &str, applications: &[Device]) -> Self {
        let path = |name: &str| folder.join(name);
        fs::write(path("anchors.pem"), anchors).unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-days", "30", "-keyout"])
            .arg(path("server.key"))
            .arg("-out")
            .arg(path("server.crt"))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "openssl made no certificate");
        let mut acl = "pattern write main/pump/%u/telemetry/#\n".to_owned();
        for application in applications {
            acl.push_str(&format!("\nuser {}\ntopic read main/#\n", application.id));
        }
        fs::write(path("acl"), acl).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let show = |name: &str| path(name).display().to_string();
        let configuration = format!(
            "user root\nlistener {} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
             tls_version tlsv1.3\nrequire_certificate true\nuse_identity_as_username true\n\
             allow_anonymous false\nacl_file {}\npersistence false\nlog_dest none\n\
             set_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 1000\n",
            address.port(),
            show("anchors.pem"),
            show("server.crt"),
            show("server.key"),
            show("acl"),
        );
        fs::write(path("mosquitto.conf"), configuration).unwrap();
        let child = Command::new("taskset")
            .args(["-c", "0", "mosquitto", "-c"])
            .arg(path("mosquitto.conf"))
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self { child, address, certificate: path("server.crt") }
    }

    pub(crate) fn target(&self) -> Target {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate).unwrap()).unwrap();
        Target::new(self.address, roots.into())
    }

    pub(crate) fn processes(&self) -> Processes {
        // `taskset` has become what it starts.
        Processes::one(self.child.id())
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
