//! Why a packet was answered as it was: MQTT 5.0's reason codes, and which packet may carry which.

use super::packet::{Kind, Side};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// A reason code of MQTT 5.0 (§2.4). Codes that the specification names twice have one name here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name = $code,)*
        }

        impl Reason {
            /// Reads a code; `None` if MQTT 5.0 has no such code.
            #[must_use]
            pub const fn of_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Every reason, in the order of the codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

reasons! {
    /// Success; also: normal disconnection, granted QoS 0.
    Success = 0x00,
    /// Granted QoS 1.
    GrantedQoS1 = 0x01,
    /// Granted QoS 2.
    GrantedQoS2 = 0x02,
    /// Disconnect, and publish the will.
    DisconnectWithWill = 0x04,
    /// Accepted, but nobody has subscribed.
    NoMatchingSubscribers = 0x10,
    /// There was no such subscription.
    NoSubscriptionExisted = 0x11,
    /// The authentication goes on.
    ContinueAuthentication = 0x18,
    /// The client begins to authenticate anew.
    ReAuthenticate = 0x19,
    /// Anything not named below.
    Unspecified = 0x80,
    /// The packet can't be read.
    MalformedPacket = 0x81,
    /// The packet breaks the protocol.
    ProtocolError = 0x82,
    /// Understood, but not done by this implementation.
    ImplementationSpecific = 0x83,
    /// The protocol version isn't spoken here.
    UnsupportedVersion = 0x84,
    /// The client id isn't accepted.
    ClientIdNotValid = 0x85,
    /// User name or password are wrong.
    BadCredentials = 0x86,
    /// The policy doesn't allow it.
    NotAuthorized = 0x87,
    /// The server isn't available.
    ServerUnavailable = 0x88,
    /// The server is busy.
    ServerBusy = 0x89,
    /// The client has been shut out.
    Banned = 0x8A,
    /// The server is shutting down.
    ServerShuttingDown = 0x8B,
    /// The authentication method isn't supported, or isn't the one in use.
    BadAuthenticationMethod = 0x8C,
    /// Nothing was heard for one and a half keep-alive times.
    KeepAliveTimeout = 0x8D,
    /// Another connection uses the same client id.
    SessionTakenOver = 0x8E,
    /// The topic filter isn't accepted.
    TopicFilterInvalid = 0x8F,
    /// The topic isn't accepted.
    TopicNameInvalid = 0x90,
    /// The packet id is in use.
    PacketIdInUse = 0x91,
    /// The packet id isn't known.
    PacketIdNotFound = 0x92,
    /// More messages are in flight than the receive maximum.
    ReceiveMaximumExceeded = 0x93,
    /// The topic alias is zero or beyond the maximum.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than agreed.
    PacketTooLarge = 0x95,
    /// Messages come too fast.
    MessageRateTooHigh = 0x96,
    /// A quota is used up.
    QuotaExceeded = 0x97,
    /// An administrator ended it.
    AdministrativeAction = 0x98,
    /// The payload isn't of the format that it claims.
    PayloadFormatInvalid = 0x99,
    /// Retained messages aren't supported.
    RetainNotSupported = 0x9A,
    /// The quality of service isn't supported.
    QoSNotSupported = 0x9B,
    /// Use another server for now.
    UseAnotherServer = 0x9C,
    /// Use another server from now on.
    ServerMoved = 0x9D,
    /// Shared subscriptions aren't supported.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Connections come too fast.
    ConnectionRateExceeded = 0x9F,
    /// The connection has lasted as long as it may.
    MaximumConnectTime = 0xA0,
    /// Subscription identifiers aren't supported.
    SubscriptionIdsNotSupported = 0xA1,
    /// Wildcard subscriptions aren't supported.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl Reason {
    /// Returns the code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Tells whether the reason says that something failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// Tells whether a packet of this kind may carry the reason when it is read by `reader`.
    #[must_use]
    pub fn is_allowed(self, kind: Kind, reader: Side) -> bool {
        let code = self.code();
        match kind {
            Kind::ConnAck => {
                matches!(code, 0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F)
            }
            Kind::PubAck | Kind::PubRec => {
                matches!(code, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            Kind::PubRel | Kind::PubComp => matches!(code, 0x00 | 0x92),
            Kind::SubAck => {
                matches!(
                    code,
                    0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
                )
            }
            Kind::UnsubAck => matches!(code, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91),
            Kind::Disconnect => match reader {
                Side::Server => matches!(code, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99),
                Side::Client => {
                    matches!(code, 0x00 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2)
                }
            },
            Kind::Auth => match reader {
                Side::Server => matches!(code, 0x18 | 0x19),
                Side::Client => matches!(code, 0x00 | 0x18),
            },
            Kind::Connect
            | Kind::Publish
            | Kind::Subscribe
            | Kind::Unsubscribe
            | Kind::PingReq
            | Kind::PingResp => false,
        }
    }

    /// Returns the CONNACK return code of MQTT 3.1.1 (§3.2.2.3) that comes nearest.
    #[must_use]
    pub const fn return_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::UnsupportedVersion => 1,
            Self::ClientIdNotValid => 2,
            Self::BadCredentials => 4,
            Self::NotAuthorized | Self::Banned | Self::BadAuthenticationMethod => 5,
            _ => 3,
        }
    }

    /// Reads a CONNACK return code of MQTT 3.1.1.
    #[must_use]
    pub const fn of_return_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Success),
            1 => Some(Self::UnsupportedVersion),
            2 => Some(Self::ClientIdNotValid),
            3 => Some(Self::ServerUnavailable),
            4 => Some(Self::BadCredentials),
            5 => Some(Self::NotAuthorized),
            _ => None,
        }
    }
}
