//! What Cedar sees of one request: the device and the topic as entities, and nothing else.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use policy::namespace::Variable;
use policy::{Ask, Binding, DeviceStanding};

/// The names of the schema's types, read once.
#[derive(Debug, Clone)]
pub(crate) struct Types {
    site: EntityTypeName,
    zone: EntityTypeName,
    kind: EntityTypeName,
    device: EntityTypeName,
    namespace: EntityTypeName,
    topic: EntityTypeName,
    gateway: EntityUid,
    action: EntityTypeName,
}

/// A request and the entities that it speaks of.
pub(crate) struct Slice {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

impl Types {
    pub(crate) fn new() -> Self {
        let name =
            |text: &str| text.parse::<EntityTypeName>().expect("the schema's names are plain");
        Self {
            site: name("Site"),
            zone: name("Zone"),
            kind: name("Kind"),
            device: name("Device"),
            namespace: name("Namespace"),
            topic: name("Topic"),
            gateway: uid(&name("Gateway"), "gateway"),
            action: name("Action"),
        }
    }

    /// Lays out a request for Cedar; an error is ours, and whoever gets one denies.
    pub(crate) fn slice(
        &self,
        device: &DeviceStanding,
        ask: &Ask<'_>,
        binding: Option<&Binding<'_>>,
    ) -> Result<Slice, String> {
        let principal = self.principal(device)?;
        let resource = binding.map(|binding| self.topic(binding)).transpose()?;
        let resource_uid = resource.as_ref().map_or_else(|| self.gateway.clone(), Entity::uid);
        let context = match ask {
            Ask::Publish { retain, .. } => flag("retain", *retain)?,
            Ask::Subscribe { filter } => flag("wildcard", filter.contains(['+', '#']))?,
            Ask::Connect | Ask::Receive { .. } => Context::empty(),
        };
        let action = uid(&self.action, ask.action().as_str());
        let request = Request::new(principal.uid(), action, resource_uid, context, None)
            .map_err(|error| error.to_string())?;
        let entities = [principal].into_iter().chain(resource);
        let entities =
            Entities::from_entities(entities, None).map_err(|error| error.to_string())?;
        Ok(Slice { request, entities })
    }

    fn principal(&self, device: &DeviceStanding) -> Result<Entity, String> {
        let site = uid(&self.site, device.site.as_str());
        let zone = uid(&self.zone, device.zone.as_str());
        let kind = uid(&self.kind, device.kind.as_str());
        let posture = device.posture.fact(policy::posture::QUARANTINE).map(|_| {
            (
                "quarantine".to_string(),
                RestrictedExpression::new_bool(device.posture.quarantined().is_some()),
            )
        });
        let posture =
            RestrictedExpression::new_record(posture).map_err(|error| error.to_string())?;
        let attributes = HashMap::from([
            ("site".to_string(), RestrictedExpression::new_entity_uid(site.clone())),
            ("zone".to_string(), RestrictedExpression::new_entity_uid(zone.clone())),
            ("kind".to_string(), RestrictedExpression::new_entity_uid(kind.clone())),
            ("stage".to_string(), string(device.stage.as_str())),
            ("posture".to_string(), posture),
        ]);
        let parents = HashSet::from([site, zone, kind]);
        let tags = device.labels.iter().map(|(name, value)| (name.to_string(), string(value)));
        let device = uid(&self.device, device.id.as_str());
        Entity::new_with_tags(device, attributes, parents, tags).map_err(|error| error.to_string())
    }

    // Invariant: the entity is a function of the namespace and the bound values alone, so that
    // topics that bind the same values get the same decision.
    fn topic(&self, binding: &Binding<'_>) -> Result<Entity, String> {
        let namespace = uid(&self.namespace, binding.namespace().name());
        let mut attributes = HashMap::from([(
            "namespace".to_string(),
            RestrictedExpression::new_entity_uid(namespace.clone()),
        )]);
        let mut texts = Vec::new();
        for (variable, value) in binding.values() {
            let kind = match variable {
                Variable::Site => &self.site,
                Variable::Zone => &self.zone,
                Variable::Kind => &self.kind,
                Variable::Device => &self.device,
                Variable::Text(name) => {
                    texts.push((name.to_string(), string(value)));
                    continue;
                }
            };
            let value = RestrictedExpression::new_entity_uid(uid(kind, value));
            attributes.insert(variable.name().to_string(), value);
        }
        let texts = RestrictedExpression::new_record(texts).map_err(|error| error.to_string())?;
        attributes.insert("text".to_string(), texts);
        let topic = uid(&self.topic, binding.namespace().name());
        Entity::new(topic, attributes, HashSet::from([namespace]))
            .map_err(|error| error.to_string())
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn string(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_string())
}

fn flag(name: &str, value: bool) -> Result<Context, String> {
    let pair = (name.to_string(), RestrictedExpression::new_bool(value));
    Context::from_pairs([pair]).map_err(|error| error.to_string())
}
