//! The `preferences` server: a user's settings, and a summary by the client's model.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    handler::{Backend, Call, Done, Fault, no_user},
    store::{Store, find_user},
};

/// The server.
pub(super) struct Preferences {
    pub store: Store,
}

#[async_trait]
impl Backend for Preferences {
    async fn call(&self, tool: &str, arguments: Value, call: &Call<'_>) -> Result<Done, Fault> {
        match tool {
            "get_preferences" => {
                let User { user_id } = serde_json::from_value(arguments)?;
                Done::data(self.store.with(|db| get_preferences(db, &user_id))?)
            }
            "set_preferences" => {
                let change: Change = serde_json::from_value(arguments)?;
                let changed = self.store.with(|db| set_preferences(db, change))?;
                call.log("info", "preferences", json!({"message": "changed", "userId": changed.user_id})).await;
                Done::data(changed)
            }
            "summarise" => self.summarise(serde_json::from_value(arguments)?, call).await,
            _ => Err(Fault::Refused(format!("{tool} is listed but not built"))),
        }
    }
}

impl Preferences {
    async fn summarise(&self, ask: Summarise, call: &Call<'_>) -> Result<Done, Fault> {
        let settings = self.store.with(|db| get_preferences(db, &ask.user_id))?;
        if !call.can_sample() {
            return Err(Fault::Refused("This client offers no model (no sampling capability), so the summary cannot be written.".into()));
        }
        let task =
            format!("Summarise these settings in a {} style, in at most two sentences:\n{}", ask.style, serde_json::to_string(&settings)?);
        let request = json!({
            "messages": [{"role": "user", "content": {"type": "text", "text": task}}],
            "systemPrompt": "You put settings into plain words. No markup.",
            "modelPreferences": {"hints": [{"name": "small"}], "speedPriority": 0.9},
            "includeContext": "none",
            "maxTokens": 200
        });
        let answer = call.ask("summary", "sampling/createMessage", request).await?;
        sampled_text(&answer).map(Done::Text)
    }
}

/// The text of a sampled message (`CreateMessageResult`), one block or several.
fn sampled_text(answer: &Value) -> Result<String, Fault> {
    let blocks = match &answer["content"] {
        Value::Array(blocks) => blocks.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    if texts.is_empty() {
        return Err(Fault::Refused("The client's model answered without any text.".into()));
    }
    Ok(texts.join("\n"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    user_id: String,
    theme: Option<String>,
    language: Option<String>,
    #[serde(default)]
    notifications: NotificationChange,
}

#[derive(Default, Deserialize)]
struct NotificationChange {
    email: Option<bool>,
    push: Option<bool>,
    digest: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summarise {
    user_id: String,
    #[serde(default = "default_style")]
    style: String,
}

fn default_style() -> String {
    "plain".into()
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    user_id: String,
    theme: String,
    language: String,
    notifications: Notifications,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Notifications {
    email: bool,
    push: bool,
    digest: String,
}

fn get_preferences(db: &Connection, id: &str) -> Result<Settings, Fault> {
    let (user, _) = find_user(db, id)?.ok_or_else(|| no_user(id))?;
    let stored = db
        .query_row("SELECT theme, language, notifications FROM preferences WHERE user_id = ?1", [user], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })
        .optional()?;
    let (theme, language, notifications) = match stored {
        Some((theme, language, notifications)) => (theme, language, serde_json::from_str(&notifications)?),
        None => ("system".into(), "en".into(), Notifications { email: true, push: false, digest: "weekly".into() }),
    };
    Ok(Settings { user_id: id.to_owned(), theme, language, notifications })
}

fn set_preferences(db: &Connection, change: Change) -> Result<Settings, Fault> {
    let mut settings = get_preferences(db, &change.user_id)?;
    let (user, _) = find_user(db, &change.user_id)?.ok_or_else(|| no_user(&change.user_id))?;
    settings.theme = change.theme.unwrap_or(settings.theme);
    settings.language = change.language.unwrap_or(settings.language);
    let new = change.notifications;
    let old = &mut settings.notifications;
    old.email = new.email.unwrap_or(old.email);
    old.push = new.push.unwrap_or(old.push);
    if let Some(digest) = new.digest {
        old.digest = digest;
    }
    db.execute(
        "INSERT INTO preferences (user_id, theme, language, notifications) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (user_id) DO UPDATE SET theme = excluded.theme, language = excluded.language, notifications = excluded.notifications",
        params![user, settings.theme, settings.language, serde_json::to_string(&settings.notifications)?],
    )?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_settings_are_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let change = |value: Value| serde_json::from_value::<Change>(value).unwrap();
        Store::new(dir.path())
            .with(|db| {
                assert_eq!(get_preferences(db, "u_1004")?.theme, "system");
                set_preferences(db, change(json!({"userId": "u_1004", "theme": "dark", "notifications": {"digest": "daily"}})))?;
                let after = set_preferences(db, change(json!({"userId": "u_1004", "language": "pt-BR"})))?;
                assert_eq!(after, get_preferences(db, "u_1004")?);
                assert_eq!((after.theme.as_str(), after.language.as_str()), ("dark", "pt-BR"));
                assert_eq!(after.notifications, Notifications { email: true, push: false, digest: "daily".into() });
                assert!(matches!(get_preferences(db, "u_9"), Err(Fault::Refused(_))));
                assert!(matches!(set_preferences(db, change(json!({"userId": "u_9", "theme": "dark"}))), Err(Fault::Refused(_))));
                Ok::<_, Fault>(())
            })
            .unwrap();
    }

    #[test]
    fn sampled_text_is_found_in_both_forms() {
        assert_eq!(sampled_text(&json!({"content": {"type": "text", "text": "a"}})).unwrap(), "a");
        assert_eq!(sampled_text(&json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})).unwrap(), "a\nb");
        assert!(sampled_text(&json!({"content": {"type": "image"}})).is_err());
        assert!(sampled_text(&json!({})).is_err());
    }
}
