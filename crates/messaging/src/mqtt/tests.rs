//! The codec against the specifications' bytes, against itself, and against bytes that lie.

pub(crate) mod arbitrary;
mod golden;
mod hostile;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::text::{Binary, Text};
use crate::topic::{Filter, Topic};

const BOTH: [Version; 2] = [Version::V311, Version::V5];
const SIDES: [Side; 2] = [Side::Server, Side::Client];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_encoded_is_decoded_the_same((version, side, packet) in arbitrary::packets()) {
        let mut out = BytesMut::new();
        encode(&packet, version, &mut out).expect("an arbitrary packet is sound");
        let decoded = decode(version, side, out.clone().freeze());
        prop_assert_eq!(decoded.as_ref(), Ok(&packet));
        let mut again = BytesMut::new();
        encode(&packet, version, &mut again).expect("it has been encoded before");
        prop_assert_eq!(&out, &again);
    }

    #[test]
    fn stream_is_cut_into_packets_wherever_it_is_torn(
        packets in prop::collection::vec(arbitrary::publishes(), 1..6),
        tears in prop::collection::vec(1_usize..40, 1..40),
    ) {
        let mut stream = BytesMut::new();
        for publish in &packets {
            encode(&Packet::Publish(publish.clone()), Version::V5, &mut stream).expect("it is sound");
        }
        let mut decoder = Decoder::for_client(Version::V5, 100_000);
        let mut buffer = BytesMut::new();
        let mut decoded = Vec::new();
        let mut tears = tears.iter().cycle();
        while !stream.is_empty() {
            let n_bytes = stream.len().min(*tears.next().expect("a cycle has no end"));
            buffer.extend_from_slice(&stream.split_to(n_bytes));
            while let Some(packet) = decoder.decode(&mut buffer).expect("the stream is sound") {
                decoded.push(packet);
            }
            if !stream.is_empty() {
                prop_assert!(decoder.missing(&buffer) <= stream.len());
            }
        }
        let expected: Vec<Packet> = packets.into_iter().map(Packet::Publish).collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn random_bytes_never_panic_and_cost_no_more_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::mqtt(&bytes);
    }

    #[test]
    fn mutated_packets_never_panic(
        (version, _, packet) in arbitrary::packets(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut out = BytesMut::new();
        encode(&packet, version, &mut out).expect("an arbitrary packet is sound");
        for (place, value) in mutations {
            let at = place.index(out.len());
            out[at] = value;
        }
        if is_cut {
            out.truncate(cut.index(out.len()));
        }
        crate::fuzz::mqtt(&out);
    }
}

#[test]
fn corpus_is_replayed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/mqtt");
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is committed") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        crate::fuzz::mqtt(&bytes);
        n_files += 1;
    }
    assert!(n_files >= 30, "only {n_files} files");
}

#[test]
fn packet_stays_small() {
    // A packet travels through a channel; what is large in it is boxed.
    assert!(size_of::<Packet>() <= 136, "{}", size_of::<Packet>());
}

#[test]
fn what_a_packet_takes_beyond_its_bytes_is_bounded() {
    // Nothing is copied but the entries of lists, and those are counted. A vector may have grown to twice its length.
    let entries = MAX_FILTERS * size_of::<Subscription>().max(size_of::<Filter>());
    let properties = MAX_USER_PROPERTIES * size_of::<UserProperty>()
        + MAX_SUBSCRIPTION_IDS * size_of::<SubscriptionId>()
        + size_of::<PublishProperties>()
        + size_of::<Connect>();
    assert!(2 * (entries + properties) <= 80 << 10, "{}", 2 * (entries + properties));
}

#[test]
fn payload_and_topic_share_the_received_bytes() {
    let frame = hex("30 0a 00 03 61 2f 62 70 61 79 6c 6f");
    let payload_at = frame.as_ptr().wrapping_add(7);
    let Ok(Packet::Publish(publish)) = decode(Version::V311, Side::Server, frame) else {
        panic!("a PUBLISH");
    };
    assert_eq!(publish.payload.as_ptr(), payload_at);
}

fn hex(text: &str) -> Bytes {
    let digits: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            u8::from_str_radix(core::str::from_utf8(pair).expect("ASCII"), 16).expect("hex")
        })
        .collect()
}

fn text(text: &str) -> Text {
    Text::copy_of(text).expect("text")
}

fn binary(bytes: &'static [u8]) -> Binary {
    Binary::parse(Bytes::from_static(bytes)).expect("short enough")
}

fn topic(text: &str) -> Topic {
    text.parse().expect("a topic")
}

fn filter(text: &str) -> Filter {
    text.parse().expect("a filter")
}

fn id(number: u16) -> PacketId {
    PacketId::of(number).expect("it isn't zero")
}
