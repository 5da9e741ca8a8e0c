//! The kinds, one file each: what somebody wants (`…Spec`) and what was observed (`…Status`).
//!
//! The tree is org → project → app → env → {release, rollout, receipt, instance, endpoint, secret}, and
//! project → volume, which outlives the app;
//! nodes and tokens stand at the top beside orgs. Stored JSON refuses unknown fields nowhere and defaults what is
//! absent, so that a newer version can add fields and an older one still reads them.

mod app;
mod authority;
mod device;
mod endpoint;
mod env;
mod gateway;
mod grant;
mod identity;
mod identity_provider;
mod image;
mod instance;
mod issuer;
mod join_token;
mod node;
mod passkey;
mod receipt;
mod release;
mod rollout;
mod secret;
mod session;
mod tenancy;
mod token;
mod user;
mod volume;

pub use app::{App, AppSpec, AppStatus};
pub use authority::{Authority, AuthoritySpec, AuthorityStatus, CaCertificate};
pub use device::{Device, DeviceSpec, DeviceStatus};
pub use endpoint::{Endpoint, EndpointSpec, EndpointStatus};
pub use env::{Env, EnvSpec, EnvStatus};
pub use gateway::{Gateway, GatewaySpec, GatewayStatus};
pub use grant::{Grant, GrantSpec, GrantStatus, Shown};
pub use identity::{
    Identity, IdentitySpec, IdentityStatus, IssuedCertificate, KeyFingerprint, KeyFingerprintError,
    MachineKind, Revoked,
};
pub use identity_provider::{IdentityProvider, IdentityProviderSpec, IdentityProviderStatus, LinkedIdentity};
pub use image::{Image, ImageSpec, ImageStatus};
pub use instance::{
    CheckAnswer, Desired, DiskUse, Exit, ImageRef, Instance, InstanceSpec, InstanceStatus, Mount, Phase,
    Template,
};
pub use issuer::{Issuer, IssuerSpec, IssuerStatus, SealedValue, SigningKey};
pub use join_token::{JoinToken, JoinTokenSpec, JoinTokenStatus, UsedToken};
pub use node::{Capacity, Node, NodeSpec, NodeStatus};
pub use passkey::{Answered, Passkey};
pub use receipt::{
    ObservedInstance, Operation, Queued, Receipt, ReceiptSpec, ReceiptStatus, Step, Verdict, Waiting, Wish,
};
pub use release::{Release, ReleaseSpec, ReleaseStatus};
pub use rollout::{Rollout, RolloutPhase, RolloutSpec, RolloutStatus};
pub use secret::{
    PinnedSecret, RemovedVersion, Secret, SecretName, SecretNameError, SecretSpec, SecretStatus,
    SecretVersion,
};
pub use session::{DeviceAnswer, Errand, Session, SessionSpec, SessionStatus, Waits};
pub use tenancy::{Org, OrgSpec, OrgStatus, Project, ProjectSpec, ProjectStatus};
pub use token::{TokenResource, TokenSpec, TokenStatus};
pub use user::{Invite, SecondFactor, User, UserSpec, UserStatus};
pub use volume::{
    Keeping, Snapshot, Source, TaskState, TaskStatus, Volume, VolumeAction, VolumeSpec, VolumeStatus,
    VolumeTask,
};

/// Ties a spec to its kind, id and status.
macro_rules! kind {
    ($spec:ident, $status:ident, $id:ident, $kind:ident) => {
        impl crate::Spec for $spec {
            type Status = $status;
            type Id = crate::id::$id;
            const KIND: crate::Kind = crate::Kind::$kind;
        }
    };
}
use kind;
