//! How sessions end, and why peers are turned away before they have one.

use minicbor::{Decode, Encode};

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $number:literal $variant:ident $code:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum $name {
            $($(#[$variant_doc])* #[n($number)] $variant,)*
        }

        impl $name {
            /// All there are.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$variant),*];

            /// Names it for programs; the names stay.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Says it in plain words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// How a session ended.
    Ending {
        /// The device said goodbye.
        0 ByDevice "by-device" "the device ended it",
        /// The transport ended without a goodbye.
        1 ConnectionLost "connection-lost" "the connection was lost",
        /// Nothing was heard for longer than the keep-alive allows.
        2 KeepAlive "keep-alive" "the device fell silent",
        /// The peer did not say CONNECT in time.
        3 ConnectTimeout "connect-timeout" "the device did not start in time",
        /// The same client opened another session.
        4 TakenOver "taken-over" "a newer session took its place",
        /// The peer broke the protocol.
        5 ProtocolError "protocol-error" "the device broke the protocol",
        /// The peer took its messages too slowly.
        6 SlowConsumer "slow-consumer" "the device took its messages too slowly",
        /// The policy did not let it connect.
        7 Denied "denied" "it was denied",
        /// A change of standing cut it off: revoked, retired, quarantined.
        8 Cut "cut" "it was cut off",
        /// The gateway is stopping.
        9 Shutdown "shutdown" "the gateway is stopping",
    }
}

reasons! {
    /// Why a peer was turned away before it had a session.
    Refusal {
        /// It showed no certificate.
        0 NoCertificate "no-certificate" "no certificate was shown",
        /// Its certificate was not issued here.
        1 Untrusted "untrusted" "the certificate was not issued here",
        /// Its certificate is malformed, or its signature is wrong.
        2 BadCertificate "bad-certificate" "the certificate is malformed or its key was not proven",
        /// Its certificate has expired or is not valid yet.
        3 Expired "expired" "the certificate is not valid now",
        /// Its certificate was revoked.
        4 Revoked "revoked" "the certificate was revoked",
        /// Its certificate belongs to no device.
        5 UnknownDevice "unknown-device" "the certificate belongs to no device",
        /// The device is not in service.
        6 NotActive "not-active" "the device is not in service",
        /// It does not speak TLS, or no version that is spoken here.
        7 NotTls "not-tls" "the peer does not speak tls 1.3",
        /// It did not finish the handshake in time.
        8 Timeout "timeout" "the handshake took too long",
        /// There are too many sessions or handshakes at once.
        9 Overloaded "overloaded" "the gateway is at its limit",
        /// Anything else.
        10 Other "other" "the handshake failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_keep_their_numbers() {
        for (number, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(minicbor::to_vec(ending).unwrap(), minicbor::to_vec(number).unwrap());
        }
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(minicbor::to_vec(refusal).unwrap(), minicbor::to_vec(number).unwrap());
        }
        assert!(minicbor::decode::<Ending>(&[10]).is_err());
        assert!(minicbor::decode::<Refusal>(&[11]).is_err());
    }
}
