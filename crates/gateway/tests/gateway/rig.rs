//! A house, a control and a gateway in one process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Limits, OldestTls, Setup};
use identity::certificate::ServerName;
use identity::{Signer, Stage};
use policy::{DeviceStanding, Labels, Posture, Snapshot};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub mod client;
pub mod control;
pub mod house;

pub use client::Client;
pub use control::Control;
pub use house::{Credential, House};

pub struct Rig {
    pub house: House,
    pub control: Control,
    pub address: SocketAddr,
    /// The gateway's own folder.
    pub folder: Arc<TempDir>,
    ready: Option<oneshot::Receiver<()>>,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<anyhow::Result<()>>,
}

/// Begins with two pumps, a retired one and an application, under the starter policy.
pub async fn start() -> Rig {
    let mut rig = Rig::begin(House::new(), Limits::default(), control::Manners::default());
    rig.ready().await;
    rig
}

impl Rig {
    pub fn begin(house: House, limits: Limits, manners: control::Manners) -> Self {
        Self::begin_with(house, limits, manners, |_| {})
    }

    pub fn begin_with(
        house: House,
        limits: Limits,
        manners: control::Manners,
        adjust: impl FnOnce(&mut Setup),
    ) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        Self::begin_in(folder, house, limits, manners, adjust)
    }

    /// Begins in a folder that a gateway may have left something in.
    pub fn begin_in(
        folder: Arc<TempDir>,
        house: House,
        limits: Limits,
        manners: control::Manners,
        adjust: impl FnOnce(&mut Setup),
    ) -> Self {
        let (up, down) = std::os::unix::net::UnixStream::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let snapshot = Snapshot {
            sequence: 1,
            issued: house::now(),
            policy: authority::starter::policy(),
            devices: vec![
                device(&house, "pump-7", "pump", Stage::Active),
                device(&house, "pump-8", "pump", Stage::Claimed),
                device(&house, "pump-9", "pump", Stage::Retired),
                device(&house, "panel", "application", Stage::Active),
            ],
            revoked: Vec::new(),
        };
        let control = Control::begin(down, &house, snapshot, manners);
        let mut setup = Setup {
            link: up,
            mqtt: listener,
            metrics: None,
            insecure: None,
            oldest_tls: OldestTls::Tls13,
            names: vec![ServerName::Dns("localhost".into())],
            standing_key: house.standing.public_key().clone(),
            issuing: house.issuing.der.clone(),
            folder: folder.path().to_owned(),
            secret: Zeroizing::new([7; 32]),
            limits,
        };
        adjust(&mut setup);
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let run =
            tokio::spawn(gateway::run(setup, || ready.send(()).unwrap_or_default(), async move {
                // A rig that is dropped lets its gateway run on.
                if stopped.await.is_err() {
                    std::future::pending().await
                }
            }));
        Self { house, control, address, folder, ready: Some(is_ready), stop: Some(stop), run }
    }

    pub async fn ready(&mut self) {
        within(self.ready.take().unwrap()).await.unwrap();
    }

    pub fn is_ready(&mut self) -> bool {
        self.ready.as_mut().unwrap().try_recv().is_ok()
    }

    /// Stops the gateway and begins another one in its place.
    pub async fn again(self) -> Self {
        let (folder, house) = (Arc::clone(&self.folder), self.house.again());
        self.stop().await.unwrap();
        let manners = control::Manners::default();
        let mut rig = Self::begin_in(folder, house, Limits::default(), manners, |_| {});
        rig.ready().await;
        rig
    }

    /// Tells the gateway to stop and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.take().unwrap().send(()).unwrap();
        self.ended().await
    }

    /// Waits until the gateway has stopped by itself.
    pub async fn ended(self) -> anyhow::Result<()> {
        within(self.run).await.unwrap()
    }
}

pub fn device(house: &House, id: &str, kind: &str, stage: Stage) -> DeviceStanding {
    DeviceStanding {
        id: id.parse().unwrap(),
        kind: kind.parse::<identity::KindId>().unwrap().into(),
        zone: "hall-1".parse::<identity::ZoneId>().unwrap().into(),
        site: "plant-a".parse::<identity::SiteId>().unwrap().into(),
        stage,
        labels: Labels::default(),
        posture: Posture::default(),
        certificates: vec![house.device(id).fingerprint],
    }
}

/// Waits for what must come soon.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it took more than 10 s")
}
