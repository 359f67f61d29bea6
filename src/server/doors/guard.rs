//! The layer in front of the services: who calls, and whether they may.
//!
//! Guarantees: where clients are configured, nothing passes but health, reflection where it is open, and calls of
//! the table's RPCs by a client whose role may make them; the client's name goes with the call as its actor.
//! A call is judged when it begins: a stream outlives the removal of its client.

use std::{
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::Either;
use http::{Extensions, HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::{Status, body::Body};
use tower::{Layer, Service};

use super::{
    certificate,
    clients::{Client, Clients, ClientsFile},
    roles::{Role, Rules},
};
use crate::{
    config::Reflection,
    rpc::Error,
    server::{connections::Peer, observe::Caller},
};

const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: &str = "/grpc.reflection.";
/// What a token is never longer than: longer ones are not hashed.
const MAX_TOKEN_BYTES: usize = 256;

/// Decides about each call.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) rules: Rules,
    pub(super) clients: ClientsFile,
    pub(super) reflection: Reflection,
}

impl Guard {
    /// Whom the call comes from; nobody in particular where everybody may call.
    fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Client>, Error> {
        if self.is_open(path) {
            return Ok(None);
        }
        let client = identify(&self.clients.current(), headers, extensions)?;
        // Also of one that is refused the log says who it was.
        if let Some(caller) = extensions.get::<Caller>() {
            caller.is(client.name.clone());
        }
        if path.starts_with(REFLECTION) {
            return Ok(Some(client));
        }
        let Some(rule) = self.rules.get(path) else {
            return Err(Error::Transport(Status::unimplemented(
                "there is no such call",
            )));
        };
        let roles = rule.roles();
        if roles.contains(&client.role) {
            return Ok(Some(client));
        }
        Err(Error::PermissionDenied {
            client: client.name.to_string(),
            role: client.role.as_str(),
            method: path.trim_start_matches('/').to_owned(),
            roles: roles.iter().copied().map(Role::as_str).collect(),
        })
    }

    fn is_open(&self, path: &str) -> bool {
        path.starts_with(HEALTH)
            || (self.reflection == Reflection::Open && path.starts_with(REFLECTION))
    }
}

/// The client that calls. A token that is given decides alone: a wrong one is not made good by a certificate.
fn identify(
    clients: &Clients,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Client, Error> {
    if let Some(authorization) = headers.get(AUTHORIZATION) {
        let token = authorization.to_str().ok().and_then(bearer);
        let client = token.and_then(|token| clients.with_token(token));
        return client.cloned().ok_or(Error::InvalidToken);
    }
    let peer = extensions.get::<Peer>();
    let certificates = peer.and_then(|peer| peer.certificates.as_ref());
    let Some(certificate) = certificates.and_then(|chain| chain.first()) else {
        return Err(Error::NoCredentials);
    };
    let names = certificate::names(certificate);
    let client = names.iter().find_map(|name| clients.with_certificate(name));
    client.cloned().ok_or(Error::UnknownCertificate { names })
}

/// The token of an `authorization: Bearer ...`; the scheme in any case, as HTTP has it.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && token.len() <= MAX_TOKEN_BYTES;
    is_bearer.then_some(token)
}

/// Puts the guard in front of the services; without one, everybody may call.
#[derive(Clone, Debug)]
pub(crate) struct GuardLayer(pub(super) Option<Arc<Guard>>);

impl<S> Layer<S> for GuardLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            guard: self.0.clone(),
            inner,
        }
    }
}

/// Services with the guard in front of them.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    guard: Option<Arc<Guard>>,
    inner: S,
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(guard) = &self.guard else {
            return Either::Left(self.inner.call(request));
        };
        match guard.admit(
            request.uri().path(),
            request.headers(),
            request.extensions(),
        ) {
            Ok(client) => {
                // `rpc::actor` finds it here.
                if let Some(client) = client {
                    request.extensions_mut().insert(client.name);
                }
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => Either::Right(ready(Ok(Status::from(refusal).into_http()))),
        }
    }
}
