//! The tests' own look into a server's database, and their own hand in it, past all of the service's rules.

use josoor_auth::store::Db;
use sqlx::AssertSqlSafe;

/// Runs a statement. How many rows it affected.
pub(crate) async fn execute(db: &Db, sql: &str) -> u64 {
    let query = AssertSqlSafe(sql.to_owned());
    let done = match db {
        Db::Postgres(pool) => sqlx::query(query)
            .execute(&**pool)
            .await
            .map(|done| done.rows_affected()),
        Db::Sqlite { writer, .. } => sqlx::query(query)
            .execute(writer)
            .await
            .map(|done| done.rows_affected()),
    };
    done.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Runs statements, one after another, on one connection.
pub(crate) async fn execute_script(db: &Db, sql: &str) {
    let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let done = match db {
        Db::Postgres(pool) => script.execute(&**pool).await.map(drop),
        Db::Sqlite { writer, .. } => script.execute(writer).await.map(drop),
    };
    done.unwrap_or_else(|error| panic!("{error}"));
}

/// The one number that a query gives.
pub(crate) async fn number(db: &Db, sql: &str) -> i64 {
    let query = AssertSqlSafe(sql.to_owned());
    let number = match db {
        Db::Postgres(pool) => sqlx::query_scalar(query).fetch_one(&**pool).await,
        Db::Sqlite { writer, .. } => sqlx::query_scalar(query).fetch_one(writer).await,
    };
    number.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The texts that a query of one column gives.
pub(crate) async fn texts(db: &Db, sql: &str) -> Vec<String> {
    let query = AssertSqlSafe(sql.to_owned());
    let texts = match db {
        Db::Postgres(pool) => sqlx::query_scalar(query).fetch_all(&**pool).await,
        Db::Sqlite { writer, .. } => sqlx::query_scalar(query).fetch_all(writer).await,
    };
    texts.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The stored password hash of the user with this address, as typed.
pub(crate) async fn password_hash(db: &Db, email: &str) -> String {
    let sql = format!("select password_hash from users where email = '{email}'");
    texts(db, &sql).await.remove(0)
}
