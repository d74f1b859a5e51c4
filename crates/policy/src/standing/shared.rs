//! Values that many devices have in common, held once.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use identity::{KindId, SiteId, ZoneId};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::DeviceStanding;

/// A value that is cheap to clone; devices of one kind hold one and the same.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shared<T>(Arc<T>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<C, T: Encode<C>> Encode<C> for Shared<T> {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<'b, C, T: Decode<'b, C>> Decode<'b, C> for Shared<T> {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        T::decode(d, ctx).map(Self::from)
    }
}

/// The names that devices have in common.
#[derive(Clone, Default)]
pub(super) struct Names {
    kinds: BTreeSet<Shared<KindId>>,
    zones: BTreeSet<Shared<ZoneId>>,
    sites: BTreeSet<Shared<SiteId>>,
}

impl Names {
    /// Makes a device hold the names that others hold already.
    pub(super) fn share(&mut self, device: &mut DeviceStanding) {
        share(&mut self.kinds, &mut device.kind);
        share(&mut self.zones, &mut device.zone);
        share(&mut self.sites, &mut device.site);
    }
}

fn share<T: Ord>(known: &mut BTreeSet<Shared<T>>, value: &mut Shared<T>) {
    match known.get(value) {
        Some(known) => *value = known.clone(),
        None => {
            known.insert(value.clone());
        }
    }
}

/// Reads many devices and shares their names as they come, so that no holes are left in memory.
pub(super) fn decode_devices<C>(
    d: &mut Decoder<'_>,
    ctx: &mut C,
) -> Result<Vec<DeviceStanding>, decode::Error> {
    let mut names = Names::default();
    let mut devices = Vec::new();
    for device in d.array_iter_with::<C, DeviceStanding>(ctx)? {
        let mut device = device?;
        names.share(&mut device);
        devices.push(device);
    }
    Ok(devices)
}
