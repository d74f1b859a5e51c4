//! What the supervisor tells a role when it starts it, and what the role says back.
//!
//! Both go over one socket pair whose other end is the role's standard input: never argv, never
//! the environment. Listeners and links cross with the message itself, so no process ever holds
//! a descriptor that is not its own. When the supervisor's end closes, the role ends.

use std::ffi::CStr;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use control::custody::Authorities;
use identity::certificate::ServerName;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write as EncodeWrite};
use minicbor::{Decode, Encode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use zeroize::Zeroizing;

/// The largest message; a setup is a few kilobytes.
pub(crate) const MAX_LEN: usize = 256 * 1024;
/// The most descriptors that one setup carries.
const MAX_FDS: usize = 4;

/// The processes that `up` consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Holds the authorities' keys and signs.
    Custody,
    /// Store, record, API, console.
    Control,
    /// The devices' front door.
    Gateway,
}

impl Role {
    /// Gives the name, which is also that of its folder.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Custody => "custody",
            Self::Control => "control",
            Self::Gateway => "gateway",
        }
    }

    /// Gives the name of its process, of which the kernel keeps 15 bytes.
    pub(crate) fn process_name(self) -> &'static CStr {
        match self {
            Self::Custody => c"palisade-cust",
            Self::Control => c"palisade-ctrl",
            Self::Gateway => c"palisade-gate",
        }
    }
}

/// What a role must know to start.
#[derive(Encode, Decode)]
pub(crate) struct Setup {
    /// The role's own folder, as the bytes of a path.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) folder: Vec<u8>,
    /// The secret that is derived for it.
    #[n(1)]
    pub(crate) secret: Secret,
    /// What it logs.
    #[n(2)]
    pub(crate) log: String,
    /// Whether it logs as JSON; none lets it look.
    #[n(3)]
    pub(crate) log_json: Option<bool>,
    /// What only this role needs.
    #[n(4)]
    pub(crate) part: Part,
}

/// What only one role needs; its descriptors cross in the order that is noted.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Part {
    /// Descriptors: the link to control.
    #[n(0)]
    Custody,
    /// Descriptors: the links to custody and gateway, the listeners for HTTPS and commands.
    #[n(1)]
    Control {
        /// A PostgreSQL URL, or none for SQLite.
        #[n(0)]
        store: Option<Url>,
        /// The names for its certificate.
        #[n(1)]
        names: Vec<ServerName>,
        /// Where console and API are said to be.
        #[n(2)]
        server: String,
        /// Where devices are told to connect.
        #[n(3)]
        broker: String,
        /// Whether to make a sign-in link where nobody can sign in yet.
        #[n(4)]
        invite: bool,
    },
    /// Descriptors: the link to control, the listener for MQTT, then those for counts and for suites
    /// that are wanted.
    #[n(2)]
    Gateway {
        /// The names for its certificate.
        #[n(0)]
        names: Vec<ServerName>,
        /// Whose certificates it takes, and who signs standing.
        #[n(1)]
        authorities: Authorities,
        /// Whether there is a listener for counts.
        #[n(2)]
        metrics: bool,
        /// Whether there is one without TLS, for suites.
        #[n(3)]
        insecure: bool,
        /// Whether it speaks TLS 1.2 too.
        #[n(4)]
        tls12: bool,
    },
}

/// What a role says back, once.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Report {
    /// It stands: custody.
    #[n(0)]
    Custody(#[n(0)] Authorities),
    /// It stands: control.
    #[n(1)]
    Control {
        /// Path and fragment of the page where the first password is chosen, while nobody has.
        #[n(0)]
        sign_in: Option<String>,
    },
    /// It stands: gateway.
    #[n(2)]
    Gateway,
    /// It cannot start.
    #[n(3)]
    Failed {
        /// The code to exit with.
        #[n(0)]
        exit: u8,
        /// Why, on one line.
        #[n(1)]
        text: String,
    },
}

/// Thirty-two secret bytes that are wiped when dropped.
pub(crate) struct Secret(pub(crate) Zeroizing<[u8; 32]>);

/// A database address, which may hold a password: not shown, wiped when dropped.
pub(crate) struct Url(pub(crate) Zeroizing<String>);

/// Sends one setup with its descriptors.
pub(crate) fn send(socket: &mut UnixStream, setup: &Setup, fds: &[&OwnedFd]) -> io::Result<()> {
    let bytes = Zeroizing::new(minicbor::to_vec(setup).map_err(io::Error::other)?);
    let length = header(bytes.len())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("more descriptors than a setup carries"));
    }
    let sent = sendmsg(&*socket, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
    let rest = length.get(sent..).unwrap_or_default();
    socket.write_all(rest)?;
    socket.write_all(&bytes)
}

/// Receives one setup with its descriptors.
pub(crate) fn receive(socket: &mut UnixStream) -> io::Result<(Setup, Vec<OwnedFd>)> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut length)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let n_read = recvmsg(&*socket, &mut slices, &mut ancillary, flags)?.bytes;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if n_read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let rest = length.get_mut(n_read..).unwrap_or_default();
    socket.read_exact(rest)?;
    let mut bytes = Zeroizing::new(vec![0; body_len(length)?]);
    socket.read_exact(&mut bytes)?;
    let setup = minicbor::decode(&bytes).map_err(io::Error::other)?;
    Ok((setup, fds))
}

/// Sends the role's one report.
pub(crate) fn report(socket: &mut impl Write, report: &Report) -> io::Result<()> {
    let bytes = minicbor::to_vec(report).map_err(io::Error::other)?;
    socket.write_all(&header(bytes.len())?)?;
    socket.write_all(&bytes)
}

/// Reads the length that precedes a message, refusing a senseless one.
pub(crate) fn body_len(header: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    match length <= MAX_LEN {
        true => Ok(length),
        false => Err(io::Error::other(format!("a message of {length} bytes; at most {MAX_LEN}"))),
    }
}

fn header(length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).ok().filter(|_| length <= MAX_LEN);
    let length = length.ok_or_else(|| io::Error::other("the message is too long"))?;
    Ok(length.to_be_bytes())
}

impl<C> Encode<C> for Secret {
    fn encode<W: EncodeWrite>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(self.0.as_ref())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let bytes: [u8; 32] = d.bytes()?.try_into().map_err(DecodeError::custom)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(a database)")
    }
}

impl<C> Encode<C> for Url {
    fn encode<W: EncodeWrite>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Url {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        Ok(Self(Zeroizing::new(d.str()?.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Signer;

    fn setup() -> Setup {
        let key = identity::Ed25519Key::from_seed(&Zeroizing::new([1; 32])).unwrap();
        Setup {
            folder: b"/data/gateway".to_vec(),
            secret: Secret(Zeroizing::new([7; 32])),
            log: "info".into(),
            log_json: Some(true),
            part: Part::Gateway {
                names: vec!["localhost".parse().unwrap(), "::1".parse().unwrap()],
                authorities: Authorities {
                    root: vec![1].into(),
                    issuing: vec![2].into(),
                    standing: key.public_key().clone(),
                    record: "record".into(),
                },
                metrics: true,
                insecure: false,
                tls12: true,
            },
        }
    }

    #[test]
    fn a_setup_crosses_with_its_descriptors() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        send(&mut ours, &setup(), &[&far.into(), &listener.into()]).unwrap();
        let (received, fds) = receive(&mut theirs).unwrap();
        assert_eq!(received.folder, b"/data/gateway");
        assert_eq!(*received.secret.0, [7; 32]);
        let Part::Gateway { names, .. } = received.part else { panic!("another part") };
        assert_eq!(names.len(), 2);
        let [far, listener] = <[OwnedFd; 2]>::try_from(fds).unwrap();
        near.write_all(b"x").unwrap();
        let mut byte = [0];
        UnixStream::from(far).read_exact(&mut byte).unwrap();
        assert_eq!(std::net::TcpListener::from(listener).local_addr().unwrap(), address);
    }

    #[test]
    fn received_descriptors_are_not_inherited_further() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (_near, far) = UnixStream::pair().unwrap();
        send(&mut ours, &setup(), &[&far.into()]).unwrap();
        let (_, fds) = receive(&mut theirs).unwrap();
        let flags = rustix::io::fcntl_getfd(&fds[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn a_senseless_length_is_refused_and_an_end_is_an_error() {
        assert!(body_len([0xff; 4]).is_err());
        assert_eq!(body_len([0, 0, 1, 0]).unwrap(), 256);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        drop(ours);
        assert!(receive(&mut theirs).is_err());
    }

    #[test]
    fn a_report_round_trips() {
        let report = Report::Failed { exit: 16, text: "no answer".into() };
        let bytes = minicbor::to_vec(&report).unwrap();
        let Report::Failed { exit, text } = minicbor::decode(&bytes).unwrap() else {
            panic!("another report")
        };
        assert_eq!((exit, text.as_str()), (16, "no answer"));
    }
}
