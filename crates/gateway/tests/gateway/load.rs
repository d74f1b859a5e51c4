//! The rude and the slow do not disturb the others.

use std::time::Duration;

use messaging::mqtt::{QoS, Reason, Version};
use policy::{Ending, Observation};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::rig::client::{TLS13, connect_packet, handshake, tls};
use crate::rig::{Client, start, within};

const OWN: &str = "plant-a/pump/pump-7/telemetry/flow";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_rude_clients_do_not_disturb_two_good_ones() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    panel.subscribe(OWN).await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let credential = rig.house.device("pump-8");
    let mut rude = Vec::new();
    for number in 0..10_u8 {
        let mut tcp = TcpStream::connect(rig.address).await.unwrap();
        match number % 5 {
            // Silent; noise instead of TLS; half a ClientHello.
            0 => {}
            1 => tcp.write_all(&[number; 4_000]).await.unwrap(),
            2 => tcp.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap(),
            // Noise instead of MQTT; half a packet of the largest size.
            3 | 4 => {
                let connector = tls(&rig.house, Some(&credential), TLS13);
                let mut stream = within(handshake(&connector, rig.address)).await.unwrap();
                if number % 5 == 3 {
                    stream.write_all(&[0xff; 100_000]).await.unwrap_or(());
                } else {
                    let connect = connect_packet(Version::V5, &format!("pump-8/{number}"));
                    let (mut client, _) = Client::over(stream, connect).await.unwrap();
                    client.stream.write_all(b"\x30\xff\xff\x0f\x00\x01a").await.unwrap();
                    client.stream.write_all(&vec![0; 200_000]).await.unwrap();
                    rude.push((None, Some(client)));
                    continue;
                }
                rude.push((None, Some(Client::raw(stream))));
                continue;
            }
            _ => unreachable!(),
        }
        rude.push((Some(tcp), None));
    }

    let started = std::time::Instant::now();
    for number in 0..500_u32 {
        assert_eq!(pump.publish_and_hear(OWN, &number.to_be_bytes()).await.reason, Reason::Success);
        assert_eq!(panel.message().await.1.as_ref(), number.to_be_bytes());
    }
    println!("500 round trips beside ten rude clients: {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(rude);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_is_let_go_and_the_others_get_everything() {
    let rig = start().await;
    let mut panel = Client::connect(&rig, "panel", Version::V5).await;
    panel.subscribe(OWN).await;
    let credential = rig.house.device("panel");
    let connect = connect_packet(Version::V5, "panel/slow");
    let (mut slow, _) = Client::open(&rig, &credential, connect).await.unwrap();
    slow.subscribe(OWN).await;
    let mut pump = Client::connect(&rig, "pump-7", Version::V5).await;
    let payload = vec![7; 64 << 10];

    let n_messages = 400_usize;
    // The good one is never so far behind that its queue could fill, however busy the machine is.
    let behind = Semaphore::new(8);
    let sending = async {
        for _ in 0..n_messages {
            behind.acquire().await.unwrap().forget();
            pump.publish_and_hear(OWN, &payload).await;
        }
    };
    let hearing = async {
        for _ in 0..n_messages {
            assert_eq!(panel.message().await.1.len(), payload.len());
            behind.add_permits(1);
        }
    };
    tokio::join!(sending, hearing);

    let why = rig.control.wait_for(|observation| match observation {
        Observation::SessionClosed { client_id, why, .. } if &**client_id == "panel/slow" => {
            Some(*why)
        }
        _ => None,
    });
    assert_eq!(why.await, Ending::SlowConsumer);
    let told = |observation: &Observation| matches!(observation, Observation::SlowConsumer { .. });
    assert!(rig.control.record().observations().iter().any(told));
    pump.publish(OWN, b"x", QoS::AtMostOnce).await.unwrap();
    assert_eq!(panel.message().await.1.as_ref(), b"x");
}
