//! Settings of the exports of traces and metrics: the standard variables of OpenTelemetry (specification, "Environment Variable
//! Specification" and "OTLP Exporter Configuration"). Pure.

use std::{fmt, time::Duration};

use super::span::{Attribute, Value};
use crate::domain::{
    secret::Secret,
    trace::{Sampler, TraceParent, TraceState},
};

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// Returns the word in the names of variables, and in the path of the URL.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Signal::Traces => ("TRACES", "v1/traces"),
            Signal::Metrics => ("METRICS", "v1/metrics"),
        }
    }

    /// Returns the path of the gRPC method.
    fn method(self) -> &'static str {
        match self {
            Signal::Traces => "opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Protocol Buffers over HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// The collector of a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The URL that batches are sent to.
    pub endpoint: String,
    /// How they are sent.
    pub protocol: Protocol,
    /// Headers of each request.
    pub headers: Vec<(String, Secret)>,
    /// How long a request may take.
    pub timeout: Duration,
    /// Attributes of the resource: the service.
    pub resource: Vec<Attribute>,
}

/// Where spans go and how.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// The collector.
    pub target: Target,
    /// How long a span waits for others at most.
    pub delay: Duration,
    /// Which traces are exported.
    pub sampler: Sampler,
}

/// Where metrics go and how.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSettings {
    /// The collector.
    pub target: Target,
    /// The time between two exports.
    pub interval: Duration,
}

/// Why a signal is not exported although the environment asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The protocol is not supported.
    Protocol(String),
    /// The sampler is unknown.
    Sampler(String),
    /// The endpoint is not a HTTP URL.
    Endpoint(String),
    /// The temporality of metrics is not supported.
    Temporality(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Protocol(found) => write!(f, "OTEL_EXPORTER_OTLP_PROTOCOL is {found:?}: only http/protobuf and grpc are supported"),
            Unusable::Sampler(found) => write!(f, "OTEL_TRACES_SAMPLER is {found:?}, which is unknown"),
            Unusable::Endpoint(found) => write!(f, "the OTLP endpoint {found:?} is not an http or https URL"),
            Unusable::Temporality(found) => {
                write!(f, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE is {found:?}: only cumulative is supported")
            }
        }
    }
}

/// Reads variables. An empty value counts as unset.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// Returns the exporter's variable of a signal, or that of all signals.
    fn of(&self, signal: Signal, end: &str) -> Option<String> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{end}", signal.words().0);
        self.get(&own).or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{end}")))
    }

    fn time(&self, value: Option<String>, default_ms: u64) -> Duration {
        Duration::from_millis(value.and_then(|value| value.parse().ok()).unwrap_or(default_ms))
    }

    /// Reads the collector of a signal; `None` unless the environment asks for an export.
    fn target(&self, signal: Signal) -> Result<Option<Target>, Unusable> {
        let (word, path) = signal.words();
        let off = self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let wanted = match self.get(&format!("OTEL_{word}_EXPORTER")) {
            Some(exporters) => exporters.split(',').any(|one| one.trim() == "otlp"),
            None => self.of(signal, "ENDPOINT").is_some(),
        };
        if off || !wanted {
            return Ok(None);
        }
        let protocol = match self.of(signal, "PROTOCOL").as_deref() {
            None | Some("http/protobuf") => Protocol::Http,
            Some("grpc") => Protocol::Grpc,
            Some(other) => return Err(Unusable::Protocol(other.to_owned())),
        };
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{word}_ENDPOINT"));
        let default = if protocol == Protocol::Grpc { "http://localhost:4317" } else { "http://localhost:4318" };
        let base = || self.get("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_else(|| default.to_owned());
        let endpoint = match protocol {
            Protocol::Http => own.unwrap_or_else(|| format!("{}/{path}", base().trim_end_matches('/'))),
            Protocol::Grpc => format!("{}/{}", own.unwrap_or_else(base).trim_end_matches('/'), signal.method()),
        };
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(Unusable::Endpoint(endpoint));
        }
        let headers = pairs(&self.of(signal, "HEADERS").unwrap_or_default());
        Ok(Some(Target {
            endpoint,
            protocol,
            headers: headers.into_iter().map(|(name, value)| (name, Secret::literal(value))).collect(),
            timeout: self.time(self.of(signal, "TIMEOUT"), 10_000),
            resource: self.resource(),
        }))
    }

    fn resource(&self) -> Vec<Attribute> {
        let mut resource: Vec<(String, String)> = pairs(&self.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        let service = self.get("OTEL_SERVICE_NAME");
        if service.is_some() || !resource.iter().any(|(name, _)| name == "service.name") {
            resource.retain(|(name, _)| name != "service.name");
            resource.push(("service.name".into(), service.unwrap_or_else(|| "switchboard".into())));
        }
        resource.push(("service.version".into(), env!("CARGO_PKG_VERSION").into()));
        resource.into_iter().map(|(name, value)| (name.into(), Value::Text(value))).collect()
    }
}

/// Reads the settings of traces; `None` unless the environment asks for an export.
pub fn traces(variable: impl Fn(&str) -> Option<String>) -> Result<Option<TraceSettings>, Unusable> {
    let variables = Variables(&variable);
    let Some(target) = variables.target(Signal::Traces)? else { return Ok(None) };
    Ok(Some(TraceSettings {
        target,
        delay: variables.time(variables.get("OTEL_BSP_SCHEDULE_DELAY"), 5_000),
        sampler: sampler(variables.get("OTEL_TRACES_SAMPLER"), variables.get("OTEL_TRACES_SAMPLER_ARG"))?,
    }))
}

/// Reads the settings of metrics; `None` unless the environment asks for an export.
pub fn metrics(variable: impl Fn(&str) -> Option<String>) -> Result<Option<MetricSettings>, Unusable> {
    let variables = Variables(&variable);
    let Some(target) = variables.target(Signal::Metrics)? else { return Ok(None) };
    let temporality = variables.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
    if let Some(other) = temporality.filter(|preference| !preference.eq_ignore_ascii_case("cumulative")) {
        return Err(Unusable::Temporality(other));
    }
    // An interval of zero would never let the exporter rest.
    let interval = variables.time(variables.get("OTEL_METRIC_EXPORT_INTERVAL"), 60_000).max(Duration::from_millis(1));
    let timeout = variables.time(variables.get("OTEL_METRIC_EXPORT_TIMEOUT"), 30_000).min(target.timeout);
    Ok(Some(MetricSettings { target: Target { timeout, ..target }, interval }))
}

/// Reads the trace context that the parent process gives (`TRACEPARENT` and `TRACESTATE`, OpenTelemetry "Environment Variables as
/// Context Propagation Carriers").
pub fn parent(variable: impl Fn(&str) -> Option<String>) -> (Option<TraceParent>, Option<TraceState>) {
    let parent = variable("TRACEPARENT").and_then(|text| text.parse().ok());
    let state = variable("TRACESTATE").filter(|_| parent.is_some());
    (parent, state.and_then(|text| text.parse().ok()))
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

    fn lookup(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    fn with(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, Unusable> {
        traces(lookup(variables))
    }

    #[test]
    fn nothing_is_exported_unless_the_environment_asks_for_it() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")],
        ] {
            assert_eq!((with(variables), metrics(lookup(variables))), (Ok(None), Ok(None)), "{variables:?}");
        }
        let traces_only = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a")];
        assert!(with(&traces_only).unwrap().is_some() && metrics(lookup(&traces_only)).unwrap().is_none());
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
        assert_eq!(found.target.endpoint, "http://collector:4318/v1/traces");
        let headers: Vec<(&str, &str)> = found.target.headers.iter().map(|(name, value)| (&**name, value.expose())).collect();
        assert_eq!(headers, [("api-key", "a,b"), ("x", "y")]);
        assert!(!format!("{found:?}").contains("a,b"), "headers may hold a token");
        assert_eq!(found.sampler, Sampler { share: 0.25, parent_based: false });
        let resource = found.target.resource;
        assert!(resource.contains(&("service.name".into(), "desk".into())) && resource.contains(&("team".into(), "a b".into())));
        let own = with(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://a/b"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "5")]).unwrap().unwrap();
        assert_eq!((own.target.endpoint.as_str(), own.target.timeout), ("https://a/b", Duration::from_millis(5)));
        let plain = with(&[("OTEL_TRACES_EXPORTER", "console,otlp")]).unwrap().unwrap();
        assert_eq!(plain.target.endpoint, "http://localhost:4318/v1/traces");
        let metric = metrics(lookup(&[
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1/"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "7"),
        ]));
        let metric = metric.unwrap().unwrap();
        assert_eq!((metric.target.endpoint.as_str(), metric.interval.as_millis()), ("http://a:1/v1/metrics", 500));
        assert_eq!(metric.target.timeout, Duration::from_millis(7));
    }

    #[test]
    fn each_signal_may_use_grpc() {
        let grpc = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
        let all = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4317"), grpc];
        let (trace, metric) = (with(&all).unwrap().unwrap(), metrics(lookup(&all)).unwrap().unwrap());
        let method = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
        assert_eq!((trace.target.protocol, trace.target.endpoint), (Protocol::Grpc, format!("http://a:4317/{method}")));
        assert_eq!((metric.target.protocol, metric.target.endpoint.as_str()), (Protocol::Http, "http://a:4317/v1/metrics"));
        let plain = with(&[("OTEL_TRACES_EXPORTER", "otlp"), grpc]).unwrap().unwrap();
        assert_eq!(plain.target.endpoint, format!("http://localhost:4317/{method}"));
    }

    #[test]
    fn what_is_not_supported_is_an_error() {
        let asked = ("OTEL_TRACES_EXPORTER", "otlp");
        assert!(matches!(with(&[asked, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]), Err(Unusable::Protocol(_))));
        assert!(matches!(with(&[asked, ("OTEL_TRACES_SAMPLER", "jaeger_remote")]), Err(Unusable::Sampler(_))));
        assert!(matches!(with(&[asked, ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]), Err(Unusable::Endpoint(_))));
        let delta = [("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")];
        assert!(matches!(metrics(lookup(&delta)), Err(Unusable::Temporality(_))));
        assert_eq!(parent(|_| Some("nonsense".into())), (None, None));
    }
}
