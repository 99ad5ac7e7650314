//! The `database` server: users, free-form records and the users as resources.

use std::{collections::HashMap, path::Path};

use async_trait::async_trait;
use rmcp::model::{CompleteRequestParams, Reference};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    handler::{Backend, Call, Done, Fault, no_user},
    store::{Store, find_user, user_id, user_number},
};

/// Columns of a profile, in the order in which [`profile`] reads them.
const PROFILE: &str = "SELECT id, email, name, role, tags, address, created_at FROM users";

/// The server.
pub(super) struct Database {
    pub store: Store,
}

#[async_trait]
impl Backend for Database {
    async fn call(&self, tool: &str, arguments: Value, call: &Call<'_>) -> Result<Done, Fault> {
        match tool {
            "create_user" => {
                let new: NewUser = serde_json::from_value(arguments)?;
                let made = self.store.with(|db| create_user(db, &new))?;
                call.log("info", "users", json!({"message": "user created", "userId": made["userId"]})).await;
                Ok(Done::Data(made))
            }
            "query_users" => {
                let query: Query = serde_json::from_value(arguments)?;
                self.store.with(|db| query_users(db, &query)).map(Done::Data)
            }
            "insert_record" => {
                let insert: Insert = serde_json::from_value(arguments)?;
                self.store.with(|db| insert_record(db, &insert)).map(Done::Data)
            }
            "get_user_profile" => {
                let User { user_id } = serde_json::from_value(arguments)?;
                self.store.with(|db| get_user_profile(db, &user_id)).map(Done::Data)
            }
            "delete_user" => {
                let User { user_id } = serde_json::from_value(arguments)?;
                let name = self.store.with(|db| delete_user(db, &user_id))?;
                call.log("notice", "users", json!({"message": "user deleted", "userId": user_id})).await;
                Ok(Done::Text(format!("Deleted {name} ({user_id}).")))
            }
            _ => Err(Fault::Refused(format!("{tool} is listed but not built"))),
        }
    }

    fn read(&self, uri: &str) -> Result<Option<(String, String)>, Fault> {
        let json = "application/json".to_owned();
        match uri.strip_prefix("demo://") {
            Some("users") => Ok(Some((json, self.store.with(list_users)?.to_string()))),
            Some("schema") => Ok(Some(("application/sql".into(), include_str!("../../assets/demo/schema.sql").into()))),
            Some(rest) => match rest.strip_prefix("users/").and_then(user_number) {
                Some(number) => Ok(self.store.with(|db| find_profile(db, number))?.map(|profile| (json, profile.to_string()))),
                None => Ok(None),
            },
            None => Ok(None),
        }
    }

    fn complete(&self, params: &CompleteRequestParams) -> Result<Vec<String>, Fault> {
        match (&params.r#ref, params.argument.name.as_str()) {
            (Reference::Resource(template), "id") if template.uri == "demo://users/{id}" => {
                let ids = self.store.with(|db| {
                    let mut rows = db.prepare("SELECT id FROM users ORDER BY id")?;
                    rows.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()
                })?;
                Ok(ids.into_iter().map(user_id).filter(|id| id.starts_with(&params.argument.value)).collect())
            }
            _ => Ok(vec![]),
        }
    }
}

#[derive(Deserialize)]
struct NewUser {
    email: String,
    name: String,
    #[serde(default = "viewer")]
    role: String,
    #[serde(default)]
    tags: Vec<String>,
    address: Option<Map<String, Value>>,
}

fn viewer() -> String {
    "viewer".into()
}

#[derive(Deserialize)]
struct Query {
    role: Option<String>,
    text: Option<String>,
    #[serde(default = "twenty")]
    limit: i64,
    #[serde(default)]
    offset: i64,
}

fn twenty() -> i64 {
    20
}

#[derive(Deserialize)]
struct Insert {
    table: String,
    record: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    user_id: String,
}

fn create_user(db: &Connection, new: &NewUser) -> Result<Value, Fault> {
    let address = new.address.as_ref().map(serde_json::to_string).transpose()?;
    let inserted = db.execute(
        "INSERT INTO users (email, name, role, tags, address) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.email, new.name, new.role, serde_json::to_string(&new.tags)?, address],
    );
    match inserted {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(Fault::Refused(format!("The e-mail address {} belongs to another user already.", new.email)))
        }
        other => {
            other?;
            find_profile(db, db.last_insert_rowid())?.ok_or_else(|| no_user(&user_id(db.last_insert_rowid())))
        }
    }
}

fn query_users(db: &Connection, query: &Query) -> Result<Value, Fault> {
    // `instr` instead of LIKE: `%` and `_` in the text are ordinary characters.
    const WHERE: &str =
        " WHERE (?1 IS NULL OR role = ?1) AND (?2 IS NULL OR instr(lower(name || ' ' || email || ' ' || tags), lower(?2)) > 0)";
    let total: i64 = db.query_row(&format!("SELECT count(*) FROM users{WHERE}"), params![query.role, query.text], |row| row.get(0))?;
    let mut rows = db.prepare(&format!("{PROFILE}{WHERE} ORDER BY id LIMIT ?3 OFFSET ?4"))?;
    let users =
        rows.query_map(params![query.role, query.text, query.limit, query.offset], profile)?.collect::<rusqlite::Result<Vec<Value>>>()?;
    Ok(json!({"users": users, "total": total}))
}

fn insert_record(db: &Connection, insert: &Insert) -> Result<Value, Fault> {
    db.execute("INSERT INTO records (table_name, record) VALUES (?1, ?2)", params![insert.table, serde_json::to_string(&insert.record)?])?;
    let id = db.last_insert_rowid();
    let rows: i64 = db.query_row("SELECT count(*) FROM records WHERE table_name = ?1", [&insert.table], |row| row.get(0))?;
    Ok(json!({"recordId": id, "table": insert.table, "rows": rows}))
}

/// Returns the number of records in each table of the demo's folder `dir`, for tests that check what a server has done.
pub fn records(dir: &Path) -> rusqlite::Result<HashMap<String, i64>> {
    Store::new(dir).with(|db| {
        let mut rows = db.prepare("SELECT table_name, count(*) FROM records GROUP BY table_name")?;
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    })
}

fn get_user_profile(db: &Connection, id: &str) -> Result<Value, Fault> {
    let number = user_number(id).ok_or_else(|| no_user(id))?;
    let mut profile = find_profile(db, number)?.ok_or_else(|| no_user(id))?;
    let count = |sql: &str| db.query_row(sql, [number], |row| row.get::<_, i64>(0));
    profile["messages"] = count("SELECT count(*) FROM emails WHERE recipient = (SELECT email FROM users WHERE id = ?1)")?.into();
    profile["events"] = count("SELECT count(*) FROM events WHERE user_id = ?1")?.into();
    Ok(profile)
}

fn delete_user(db: &Connection, id: &str) -> Result<String, Fault> {
    let (number, name) = find_user(db, id)?.ok_or_else(|| no_user(id))?;
    db.execute("DELETE FROM users WHERE id = ?1", [number])?;
    Ok(name)
}

fn list_users(db: &Connection) -> Result<Value, Fault> {
    let mut rows = db.prepare("SELECT id, name, role FROM users ORDER BY id")?;
    let users = rows
        .query_map([], |row| {
            Ok(json!({"userId": user_id(row.get(0)?), "name": row.get::<_, String>(1)?, "role": row.get::<_, String>(2)?}))
        })?
        .collect::<rusqlite::Result<Vec<Value>>>()?;
    Ok(Value::Array(users))
}

fn find_profile(db: &Connection, number: i64) -> rusqlite::Result<Option<Value>> {
    db.query_row(&format!("{PROFILE} WHERE id = ?1"), [number], profile).optional()
}

fn profile(row: &Row<'_>) -> rusqlite::Result<Value> {
    // Stored as JSON text by `create_user` and `schema.sql` only.
    let stored = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Value::Null);
    Ok(json!({
        "userId": user_id(row.get(0)?),
        "email": row.get::<_, String>(1)?,
        "name": row.get::<_, String>(2)?,
        "role": row.get::<_, String>(3)?,
        "tags": stored(row.get(4)?),
        "address": stored(row.get(5)?),
        "createdAt": row.get::<_, String>(6)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_db(work: impl FnOnce(&Connection) -> Result<(), Fault>) {
        let dir = tempfile::tempdir().unwrap();
        Store::new(dir.path()).with(work).unwrap();
    }

    fn new_user(value: Value) -> NewUser {
        serde_json::from_value(value).unwrap()
    }

    fn refusal(answer: Result<impl std::fmt::Debug, Fault>) -> String {
        match answer {
            Err(Fault::Refused(text)) => text,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_created_user_is_found_again_and_its_address_is_taken() {
        with_db(|db| {
            let ann = new_user(json!({"email": "ann@x.org", "name": "Ann", "tags": ["new"], "address": {"city": "Bonn"}}));
            let made = create_user(db, &ann)?;
            assert_eq!(made["role"], "viewer");
            assert_eq!(made["address"]["city"], "Bonn");
            let id = made["userId"].as_str().unwrap();
            let read = get_user_profile(db, id)?;
            assert_eq!((&read["email"], &read["messages"]), (&json!("ann@x.org"), &json!(0)));
            let twice = new_user(json!({"email": "ANN@x.org", "name": "Other"}));
            assert!(refusal(create_user(db, &twice)).contains("ANN@x.org"));
            Ok(())
        });
    }

    #[test]
    fn queries_filter_page_and_count() {
        with_db(|db| {
            let ask = |value: Value| query_users(db, &serde_json::from_value(value).unwrap());
            let developers = ask(json!({"role": "developer", "limit": 2}))?;
            assert_eq!((developers["total"].as_i64(), developers["users"].as_array().map(Vec::len)), (Some(3), Some(2)));
            assert_eq!(ask(json!({"role": "developer", "limit": 2, "offset": 2}))?["users"].as_array().map(Vec::len), Some(1));
            assert_eq!(ask(json!({"text": "LOVE"}))?["users"][0]["userId"], "u_1001");
            assert_eq!(ask(json!({"text": "%"}))?["total"], 0);
            Ok(())
        });
    }

    #[test]
    fn deleting_takes_the_preferences_along_and_works_once() {
        with_db(|db| {
            db.execute("INSERT INTO preferences VALUES (1002, 'dark', 'en', '{}')", [])?;
            assert_eq!(delete_user(db, "u_1002")?, "Grace Hopper");
            let left: i64 = db.query_row("SELECT count(*) FROM preferences", [], |row| row.get(0))?;
            assert_eq!(left, 0);
            assert!(refusal(delete_user(db, "u_1002")).contains("u_1002"));
            assert!(refusal(get_user_profile(db, "u_1002")).contains("u_1002"));
            Ok(())
        });
    }

    #[test]
    fn records_are_counted_by_table() {
        with_db(|db| {
            let insert = |table: &str| insert_record(db, &Insert { table: table.into(), record: Map::from_iter([("a".into(), json!(1))]) });
            assert_eq!(insert("orders")?["rows"], 1);
            assert_eq!(insert("orders")?["rows"], 2);
            assert_eq!(insert("carts")?["rows"], 1);
            Ok(())
        });
    }

    #[test]
    fn resources_are_read_and_unknown_ones_are_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let server = Database { store: Store::new(dir.path()) };
        assert!(server.read("demo://users").unwrap().unwrap().1.contains("u_1006"));
        assert!(server.read("demo://users/u_1003").unwrap().unwrap().1.contains("Turing"));
        assert!(server.read("demo://schema").unwrap().unwrap().1.contains("CREATE TABLE"));
        for unknown in ["demo://users/u_9", "demo://users/", "demo://", "file:///etc/passwd", ""] {
            assert!(server.read(unknown).unwrap().is_none(), "{unknown}");
        }
    }
}
