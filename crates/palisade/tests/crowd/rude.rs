//! Clients that are slow on purpose, and clients that speak nonsense, each from an address of its
//! own, again and again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::rig::device::{Device, Home};
use crate::rig::dice::Dice;

/// What a rude client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It connects and says nothing.
    Silent,
    /// It sends the beginning of a TLS handshake, a byte at a time.
    Dribble,
    /// It proves who it is and sends no CONNECT.
    NoConnect,
    /// It proves who it is and sends half a CONNECT.
    HalfConnect,
    /// It sends noise where TLS should be.
    Noise,
    /// It sends a record of TLS that is longer than any may be.
    LongRecord,
    /// It proves who it is and sends noise where MQTT should be.
    NoiseInside,
    /// It proves who it is and sends a packet that says it is far longer than any may be.
    LyingLength,
}

impl Manner {
    /// The slow ones, then the malformed ones.
    pub(crate) const ALL: [Self; 8] = [
        Self::Silent,
        Self::Dribble,
        Self::NoConnect,
        Self::HalfConnect,
        Self::Noise,
        Self::LongRecord,
        Self::NoiseInside,
        Self::LyingLength,
    ];
}

/// How often each manner was tried.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    pub(crate) by_manner: [AtomicU64; Manner::ALL.len()],
}

/// One of them.
pub(crate) struct Rude {
    pub(crate) manner: Manner,
    pub(crate) idx: usize,
    pub(crate) device: Device,
    /// How long it waits between two tries at least, in milliseconds.
    pub(crate) pause: u64,
    pub(crate) tries: Arc<Tries>,
}

impl Rude {
    /// Tries again and again.
    pub(crate) async fn go_on(self, home: Home, mut dice: Dice) {
        // They do not all come at once.
        sleep(Duration::from_millis(dice.below(self.pause))).await;
        loop {
            let place = Manner::ALL.iter().position(|manner| *manner == self.manner).unwrap();
            self.tries.by_manner[place].fetch_add(1, Ordering::Relaxed);
            // It is turned away, or it is let go after a time: both end the try.
            let _: io::Result<()> = self.try_once(&home, &mut dice).await;
            sleep(Duration::from_millis(self.pause + dice.below(self.pause))).await;
        }
    }

    async fn try_once(&self, home: &Home, dice: &mut Dice) -> io::Result<()> {
        let mut tcp = self.reach(home).await?;
        match self.manner {
            Manner::Silent => {}
            Manner::Dribble => {
                let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".iter();
                for byte in hello.copied().chain(std::iter::repeat(7)) {
                    tcp.write_all(&[byte]).await?;
                    sleep(Duration::from_millis(500)).await;
                }
            }
            Manner::Noise => tcp.write_all(&noise(dice)).await?,
            Manner::LongRecord => tcp.write_all(b"\x16\x03\x01\xff\xff\x01\x00\xff").await?,
            Manner::NoConnect | Manner::HalfConnect | Manner::NoiseInside | Manner::LyingLength => {
                let connector = self.device.connector(&home.roots);
                let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await?;
                match self.manner {
                    Manner::HalfConnect => tls.write_all(b"\x10\x20\x00\x04MQTT\x05\x02").await?,
                    Manner::NoiseInside => tls.write_all(&noise(dice)).await?,
                    Manner::LyingLength => {
                        tls.write_all(b"\x10\xff\xff\xff\x7f\x00\x04MQTT").await?
                    }
                    _ => {}
                }
                tls.flush().await?;
                return until_closed(&mut tls).await;
            }
        }
        until_closed(&mut tcp).await
    }

    /// Connects from an address of its own.
    async fn reach(&self, home: &Home) -> io::Result<TcpStream> {
        let [high, low] = u16::try_from(self.idx).unwrap().to_be_bytes();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 1 + high, low, 1), 0)))?;
        socket.connect(home.mqtt).await
    }
}

async fn until_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<()> {
    let mut buffer = [0; 256];
    let read = async {
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    };
    timeout(LONGEST, read).await.expect("a rude client is let go in time")
}

fn noise(dice: &mut Dice) -> Vec<u8> {
    let n_bytes = 16 + usize::try_from(dice.below(4_000)).unwrap();
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| dice.throw().to_be_bytes()).flatten().take(n_bytes).collect();
    // Neither the beginning of a handshake nor of a CONNECT.
    bytes[0] |= 0x80;
    bytes
}

/// How long anybody may stay who has not connected.
const LONGEST: Duration = Duration::from_secs(15);
