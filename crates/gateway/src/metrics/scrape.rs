//! Answers scrapes: whoever asks gets the counts, whatever it asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::Metrics;

/// Answers one scrape after the other until it is dropped.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    loop {
        match listener.accept().await {
            // A scrape that fails is repeated by whoever makes it.
            Ok((stream, _)) => drop(timeout(PATIENCE, answer(stream, &metrics)).await),
            Err(_) => sleep(PATIENCE).await,
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    // The request is not looked at; it is read so that closing does not reset the connection.
    let mut request = [0; 4_096];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let body = metrics.render();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// How long one scrape may take.
const PATIENCE: Duration = Duration::from_secs(1);
