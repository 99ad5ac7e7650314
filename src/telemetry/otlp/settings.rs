//! Settings of the export of traces: the standard variables of OpenTelemetry (specification, "Environment Variable
//! Specification" and "OTLP Exporter Configuration"). Pure.

use std::{fmt, time::Duration};

use super::span::{Attribute, Value};
use crate::domain::{
    secret::Secret,
    trace::{Sampler, TraceParent},
};

/// Where spans go and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The URL that batches are sent to.
    pub endpoint: String,
    /// Headers of each request.
    pub headers: Vec<(String, Secret)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long a span waits for others at most.
    pub delay: Duration,
    /// Which traces are exported.
    pub sampler: Sampler,
    /// Attributes of the resource: the service.
    pub resource: Vec<Attribute>,
}

/// Why traces are not exported although the environment asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The protocol is not supported.
    Protocol(String),
    /// The sampler is unknown.
    Sampler(String),
    /// The endpoint is not a HTTP URL.
    Endpoint(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Protocol(found) => write!(f, "OTEL_EXPORTER_OTLP_PROTOCOL is {found:?}: only http/protobuf is supported"),
            Unusable::Sampler(found) => write!(f, "OTEL_TRACES_SAMPLER is {found:?}, which is unknown"),
            Unusable::Endpoint(found) => write!(f, "the OTLP endpoint {found:?} is not an http or https URL"),
        }
    }
}

/// Reads the settings; `None` unless the environment asks for an export.
pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, Unusable> {
    // An empty value counts as unset.
    let get = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let of_traces = |end: &str| get(&format!("OTEL_EXPORTER_OTLP_TRACES_{end}")).or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{end}")));
    let off = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exporter = get("OTEL_TRACES_EXPORTER");
    let wanted = match exporter.as_deref() {
        Some(exporters) => exporters.split(',').any(|one| one.trim() == "otlp"),
        None => of_traces("ENDPOINT").is_some(),
    };
    if off || !wanted {
        return Ok(None);
    }
    if let Some(protocol) = of_traces("PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
        return Err(Unusable::Protocol(protocol));
    }
    let base = || get("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|| "http://localhost:4318".to_owned());
    let endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").unwrap_or_else(|| format!("{}/v1/traces", base().trim_end_matches('/')));
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(Unusable::Endpoint(endpoint));
    }
    let ms = |value: Option<String>, default| Duration::from_millis(value.and_then(|value| value.parse().ok()).unwrap_or(default));
    let mut resource: Vec<(String, String)> = pairs(&get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    let service = get("OTEL_SERVICE_NAME");
    if service.is_some() || !resource.iter().any(|(name, _)| name == "service.name") {
        resource.retain(|(name, _)| name != "service.name");
        resource.push(("service.name".into(), service.unwrap_or_else(|| "switchboard".into())));
    }
    resource.push(("service.version".into(), env!("CARGO_PKG_VERSION").into()));
    Ok(Some(Settings {
        endpoint,
        headers: pairs(&of_traces("HEADERS").unwrap_or_default()).into_iter().map(|(name, value)| (name, Secret::literal(value))).collect(),
        timeout: ms(of_traces("TIMEOUT"), 10_000),
        delay: ms(get("OTEL_BSP_SCHEDULE_DELAY"), 5_000),
        sampler: sampler(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"))?,
        resource: resource.into_iter().map(|(name, value)| (name.into(), Value::Text(value))).collect(),
    }))
}

/// Reads the trace context that the parent process gives (`TRACEPARENT`, OpenTelemetry "Environment Variables as Context
/// Propagation Carriers").
pub fn parent(variable: impl Fn(&str) -> Option<String>) -> Option<TraceParent> {
    variable("TRACEPARENT")?.parse().ok()
}

fn sampler(name: Option<String>, argument: Option<String>) -> Result<Sampler, Unusable> {
    let share = || argument.and_then(|text| text.parse::<f64>().ok()).filter(|share| (0.0..=1.0).contains(share)).unwrap_or(1.0);
    let name = name.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let parent_based = name.starts_with("parentbased_");
    let share = match name.trim_start_matches("parentbased_") {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => share(),
        _ => return Err(Unusable::Sampler(name)),
    };
    Ok(Sampler { share, parent_based })
}

/// Reads `name=value,name=value` with percent-encoded values (W3C Baggage).
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_owned(), decoded(value.trim())))
    };
    text.split(',').filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code =
            after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Option<Settings>, Unusable> {
        read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn nothing_is_exported_unless_the_environment_asks_for_it() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert_eq!(with(variables), Ok(None), "{variables:?}");
        }
    }

    #[test]
    fn the_standard_variables_are_read() {
        let found = with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%2Cb, x = y"),
            ("OTEL_SERVICE_NAME", "desk"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%20b"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(found.endpoint, "http://collector:4318/v1/traces");
        let headers: Vec<(&str, &str)> = found.headers.iter().map(|(name, value)| (&**name, value.expose())).collect();
        assert_eq!(headers, [("api-key", "a,b"), ("x", "y")]);
        assert!(!format!("{found:?}").contains("a,b"), "headers may hold a token");
        assert_eq!(found.sampler, Sampler { share: 0.25, parent_based: false });
        assert!(
            found.resource.contains(&("service.name".into(), "desk".into())) && found.resource.contains(&("team".into(), "a b".into()))
        );
        let own = with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://a/b"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "5")]).unwrap().unwrap();
        assert_eq!((own.endpoint.as_str(), own.timeout), ("https://a/b", Duration::from_millis(5)));
        let plain = with(&[("OTEL_TRACES_EXPORTER", "console,otlp")]).unwrap().unwrap();
        assert_eq!(plain.endpoint, "http://localhost:4318/v1/traces");
    }

    #[test]
    fn what_is_not_supported_is_an_error() {
        let asked = ("OTEL_TRACES_EXPORTER", "otlp");
        assert!(matches!(with(&[asked, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Err(Unusable::Protocol(_))));
        assert!(matches!(with(&[asked, ("OTEL_TRACES_SAMPLER", "jaeger_remote")]), Err(Unusable::Sampler(_))));
        assert!(matches!(with(&[asked, ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]), Err(Unusable::Endpoint(_))));
        assert_eq!(parent(|_| Some("nonsense".into())), None);
    }
}
