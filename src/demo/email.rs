//! The `email` server: an inbox table, delivery with progress, and a form before sending.

use std::time::Duration;

use async_trait::async_trait;
use rmcp::{
    ErrorData,
    model::{CompleteRequestParams, GetPromptResult, JsonObject, PromptMessage, Reference, Role},
};
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    handler::{Backend, Call, Done, Fault},
    store::Store,
};

/// How long each of the three steps of a delivery takes.
const STEP: Duration = Duration::from_millis(100);
/// What the welcome prompt is offered for.
const PRODUCTS: [&str; 6] = ["Switchboard", "Shopfront", "Signal Box", "Ledger", "Lighthouse", "Waystation"];

/// The server.
pub(super) struct Email {
    pub store: Store,
}

#[async_trait]
impl Backend for Email {
    async fn call(&self, tool: &str, arguments: Value, call: &Call<'_>) -> Result<Done, Fault> {
        match tool {
            "send_email" => self.send(serde_json::from_value(arguments)?, call).await,
            "get_inbox" => {
                let ask: Inbox = serde_json::from_value(arguments)?;
                self.store.with(|db| get_inbox(db, &ask)).map(Done::Data)
            }
            _ => Err(Fault::Refused(format!("{tool} is listed but not built"))),
        }
    }

    fn prompt(&self, name: &str, arguments: &JsonObject) -> Result<GetPromptResult, ErrorData> {
        if name != "welcome_email" {
            return Err(ErrorData::invalid_params(format!("unknown prompt `{name}`"), None));
        }
        let text = |key: &str| arguments.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let Some(who) = text("name") else {
            return Err(ErrorData::invalid_params("the prompt welcome_email needs the argument `name`", None));
        };
        let product = text("product").unwrap_or(PRODUCTS[0]);
        let task =
            format!("Write an e-mail of at most eighty words that welcomes {who} to {product}. Plain text, friendly, one next step.");
        Ok(GetPromptResult::new(vec![
            PromptMessage::new_text(Role::User, task),
            PromptMessage::new_text(Role::Assistant, format!("Subject: Welcome to {product}, {who}!")),
        ])
        .with_description(format!("Welcomes {who} to {product}")))
    }

    fn complete(&self, params: &CompleteRequestParams) -> Result<Vec<String>, Fault> {
        let start = params.argument.value.to_lowercase();
        let fits = |value: &String| value.to_lowercase().starts_with(&start);
        match (&params.r#ref, params.argument.name.as_str()) {
            (Reference::Prompt(prompt), "product") if prompt.name == "welcome_email" => {
                Ok(PRODUCTS.map(str::to_owned).into_iter().filter(fits).collect())
            }
            (Reference::Prompt(prompt), "name") if prompt.name == "welcome_email" => {
                let names = self.store.with(|db| {
                    let mut rows = db.prepare("SELECT DISTINCT name FROM users ORDER BY name")?;
                    rows.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
                })?;
                Ok(names.into_iter().filter(fits).collect())
            }
            _ => Ok(vec![]),
        }
    }
}

impl Email {
    async fn send(&self, mut message: Message, call: &Call<'_>) -> Result<Done, Fault> {
        if message.confirm {
            confirm(&mut message, call).await?;
        }
        for (step, what) in ["looking up the recipient", "queueing the message", "delivering"].into_iter().enumerate() {
            call.progress(step as f64, 3.0, what).await;
            tokio::select! {
                () = tokio::time::sleep(STEP) => {}
                () = call.cancelled() => return Err(Fault::Refused("Cancelled before delivery: nothing was sent.".into())),
            }
        }
        let id = self.store.with(|db| deliver(db, &message))?;
        call.progress(3.0, 3.0, "delivered").await;
        call.log("info", "outbox", json!({"message": "delivered", "to": message.to, "messageId": id})).await;
        Done::data(json!({
            "messageId": id, "to": message.to, "priority": message.priority, "status": "delivered", "confirmed": message.confirm,
        }))
    }
}

#[derive(Deserialize)]
struct Message {
    to: String,
    subject: String,
    #[serde(default)]
    body: String,
    #[serde(default = "normal")]
    priority: String,
    #[serde(default)]
    confirm: bool,
}

fn normal() -> String {
    "normal".into()
}

#[derive(Deserialize)]
struct Inbox {
    address: String,
    #[serde(default = "ten")]
    limit: i64,
}

fn ten() -> i64 {
    10
}

/// Asks the user by a form whether to send, and takes over what was changed there.
async fn confirm(message: &mut Message, call: &Call<'_>) -> Result<(), Fault> {
    if !call.can_ask_form() {
        return Err(Fault::Refused("This client cannot show forms (no elicitation capability). Call again without `confirm`.".into()));
    }
    let form = json!({
        "message": format!("Send “{}” to {}?", message.subject, message.to),
        "requestedSchema": {
            "type": "object",
            "properties": {
                "send": {"type": "boolean", "title": "Send it", "description": "Off: the message is thrown away", "default": true},
                "priority": {"type": "string", "title": "Priority", "enum": ["low", "normal", "high", "urgent"], "default": message.priority},
                "note": {"type": "string", "title": "Note", "description": "Put below the text", "maxLength": 200}
            },
            "required": ["send"]
        }
    });
    let answer = call.ask("confirm", "elicitation/create", form).await?;
    apply_answer(message, &answer)
}

/// Takes over a form's answer; an error when the message must not be sent.
fn apply_answer(message: &mut Message, answer: &Value) -> Result<(), Fault> {
    let content = &answer["content"];
    match answer["action"].as_str() {
        Some("accept") if content["send"] == json!(true) => {}
        Some("accept") => return Err(Fault::Refused("The user chose not to send it: nothing was sent.".into())),
        Some("decline") => return Err(Fault::Refused("The user declined: nothing was sent.".into())),
        _ => return Err(Fault::Refused("The user did not answer: nothing was sent.".into())),
    }
    if let Some(priority) = content["priority"].as_str().filter(|priority| ["low", "normal", "high", "urgent"].contains(priority)) {
        message.priority = priority.to_owned();
    }
    if let Some(note) = content["note"].as_str().filter(|note| !note.is_empty()) {
        message.body.push_str(&format!("\n\n{note}"));
    }
    Ok(())
}

fn deliver(db: &Connection, message: &Message) -> Result<String, Fault> {
    db.execute(
        "INSERT INTO emails (recipient, subject, body, priority) VALUES (?1, ?2, ?3, ?4)",
        params![message.to, message.subject, message.body, message.priority],
    )?;
    Ok(message_id(db.last_insert_rowid()))
}

fn get_inbox(db: &Connection, ask: &Inbox) -> Result<Value, Fault> {
    let total: i64 = db.query_row("SELECT count(*) FROM emails WHERE recipient = ?1", [&ask.address], |row| row.get(0))?;
    let mut rows = db.prepare("SELECT id, subject, body, priority, sent_at FROM emails WHERE recipient = ?1 ORDER BY id DESC LIMIT ?2")?;
    let messages = rows
        .query_map(params![ask.address, ask.limit], |row| {
            Ok(json!({
                "messageId": message_id(row.get(0)?),
                "subject": row.get::<_, String>(1)?,
                "body": row.get::<_, String>(2)?,
                "priority": row.get::<_, String>(3)?,
                "sentAt": row.get::<_, String>(4)?,
            }))
        })?
        .collect::<rusqlite::Result<Vec<Value>>>()?;
    Ok(json!({"address": ask.address, "total": total, "messages": messages}))
}

fn message_id(number: i64) -> String {
    format!("m_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Value) -> Message {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_inbox_lists_deliveries_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        for subject in ["one", "two", "three"] {
            store.with(|db| deliver(db, &message(json!({"to": "Bob@x.org", "subject": subject})))).unwrap();
        }
        let inbox = store.with(|db| get_inbox(db, &Inbox { address: "bob@X.org".into(), limit: 2 })).unwrap();
        assert_eq!(inbox["total"], 3);
        assert_eq!(
            inbox["messages"].as_array().unwrap().iter().map(|m| m["subject"].as_str().unwrap()).collect::<Vec<_>>(),
            ["three", "two"]
        );
    }

    #[test]
    fn only_an_agreement_lets_a_message_out() {
        let accepted = json!({"action": "accept", "content": {"send": true, "priority": "urgent", "note": "Bye"}});
        let mut sent = message(json!({"to": "a@x", "subject": "s", "body": "Hello"}));
        apply_answer(&mut sent, &accepted).unwrap();
        assert_eq!((sent.priority.as_str(), sent.body.as_str()), ("urgent", "Hello\n\nBye"));
        for no in [
            json!({"action": "accept", "content": {"send": false}}),
            json!({"action": "accept"}),
            json!({"action": "decline"}),
            json!({"action": "cancel"}),
            json!({}),
            json!("accept"),
        ] {
            let mut held = message(json!({"to": "a@x", "subject": "s"}));
            assert!(matches!(apply_answer(&mut held, &no), Err(Fault::Refused(_))), "{no}");
        }
    }

    #[test]
    fn the_prompt_needs_a_name_and_completes_both_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let server = Email { store: Store::new(dir.path()) };
        let arguments = |value: Value| value.as_object().unwrap().clone();
        let filled = server.prompt("welcome_email", &arguments(json!({"name": "Ann", "product": "Ledger"}))).unwrap();
        assert!(serde_json::to_string(&filled).unwrap().contains("welcomes Ann to Ledger"));
        assert!(server.prompt("welcome_email", &arguments(json!({"name": " "}))).is_err());
        assert!(server.prompt("other", &arguments(json!({"name": "Ann"}))).is_err());
        let complete = |name: &str, value: &str| {
            let params = json!({"ref": {"type": "ref/prompt", "name": "welcome_email"}, "argument": {"name": name, "value": value}});
            server.complete(&serde_json::from_value(params).unwrap()).unwrap()
        };
        assert_eq!(complete("product", "s"), ["Switchboard", "Shopfront", "Signal Box"]);
        assert_eq!(complete("name", "gr"), ["Grace Hopper"]);
        assert!(complete("unknown", "").is_empty());
    }
}
