//! The devices' front door: TLS, the decision per message, routing.
