//! A call that panics: the service goes on, and nobody takes it for a client that went away.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
};

use http_body::{Body as _, Frame};
use serde_json::Value;
use tonic::Code;

use super::{call::code_in, *};
use crate::proto::DESCRIPTORS;

const PATH: &str = "/leadvault.vault.v1.VaultService/GetContact";
/// What a panic says of a text that it cannot cut.
const ROW: &str = "ada@x.example";

/// When the service panics.
#[derive(Clone, Copy)]
enum At {
    Call,
    Future,
    FirstFrame,
    SecondFrame,
}

#[derive(Clone, Copy)]
struct Panicking(At);

impl Service<Request<Body>> for Panicking {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let frames = match self.0 {
            At::Call => panic!("{ROW}"),
            At::Future => return Box::pin(async { panic!("{ROW}") }),
            At::FirstFrame => 0,
            At::SecondFrame => 1,
        };
        Box::pin(async move { Ok(Response::new(Body::new(Frames(frames)))) })
    }
}

/// So many frames, and then a panic.
struct Frames(u32);

impl http_body::Body for Frames {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        self.0 = self.0.checked_sub(1).expect(ROW);
        Poll::Ready(Some(Ok(Frame::data(bytes::Bytes::from_static(b"x")))))
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Calls a service that panics: the code that is answered, the lines of the log, and the metrics.
async fn call(at: At) -> (Option<Code>, Vec<Value>, String) {
    let log = Log::default();
    let written = log.clone();
    let lines = tracing_subscriber::fmt().json().with_span_list(false);
    let subscriber = lines.with_writer(move || written.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let metrics = Metrics::new(&[DESCRIPTORS], Vec::new());
    let mut service = ObserveLayer::new(metrics.clone(), None).layer(Panicking(at));
    let request = Request::post(PATH)
        .header("x-request-id", "r-1")
        .body(Body::empty());
    let mut response = service.call(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "r-1");
    let mut code = code_in(response.headers());
    let body = response.body_mut();
    while let Some(frame) = next_frame(body).await {
        code = code.or(frame.unwrap().trailers_ref().and_then(code_in));
    }
    assert!(response.body().is_end_stream());
    drop(response);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (code, lines.collect(), metrics.encode().unwrap())
}

async fn next_frame(body: &mut ObservedBody) -> Option<Result<Frame<bytes::Bytes>, Status>> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context)).await
}

#[tokio::test]
async fn a_panic_is_answered_counted_and_logged_as_a_fault_without_its_words() {
    for at in [At::Call, At::Future, At::FirstFrame, At::SecondFrame] {
        let (code, lines, metrics) = call(at).await;
        assert_eq!(code, Some(Code::Internal));
        let ended = lines
            .iter()
            .find(|line| line["target"] == "leadvault::call");
        let ended = ended.unwrap();
        assert_eq!(ended["level"], "ERROR");
        assert_eq!(ended["fields"]["code"], "INTERNAL");
        assert_eq!(ended["fields"]["request_id"], "r-1");
        let cause = lines.iter().find(|line| !line["fields"]["cause"].is_null());
        assert_eq!(cause.unwrap()["span"]["request_id"], "r-1");
        assert!(!format!("{lines:?}").contains(ROW), "{lines:?}");
        let handled = metrics.lines().find(|line| line.contains("grpc_code="));
        assert!(
            handled.unwrap().contains("grpc_code=\"INTERNAL\""),
            "{metrics}"
        );
        assert!(!metrics.contains("CANCELLED"), "{metrics}");
    }
}
