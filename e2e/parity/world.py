"""The users, the buckets and the notifications of the comparison."""

import json

import boto3
import botocore.config
from harness.cluster import script

#: The Id of RGW's notifications and of our rule, and the opaque data of both. No blank: RGW would make it a plus.
NAME = "parity"
OPAQUE = "op@que,ü"
RULE = f'id = "{NAME}", opaque_data = "{OPAQUE}", versioned = "*-versioned"'
EVENTS = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
TENANT = "parityland"
ACCOUNT = "RGW00000000000000001"


class Side:
    """A set of buckets of all kinds, and the clients of those who use them."""

    def __init__(self, world, prefix):
        self.cluster, self.url = world.cluster, world.url
        self.owner, self.friend, self.keeper, self.member = world.owner, world.friend, world.keeper, world.member
        self.plain, self.other, self.shared = f"{prefix}-plain", f"{prefix}-other", f"{prefix}-shared"
        self.versioned, self.suspended = f"{prefix}-versioned", f"{prefix}-suspended"
        self.tenants, self.accounts = f"{prefix}-tenants", f"{prefix}-accounts"
        own = (self.plain, self.other, self.shared, self.versioned, self.suspended)
        #: Each bucket with its owner's client.
        self.buckets = {**dict.fromkeys(own, self.owner), self.tenants: self.keeper}
        if self.member:
            self.buckets[self.accounts] = self.member
        for bucket, client in self.buckets.items():
            client.create_bucket(Bucket=bucket)
        for bucket, states in ((self.versioned, ["Enabled"]), (self.suspended, ["Enabled", "Suspended"])):
            for state in states:
                self.owner.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": state})
        self._share()

    def _share(self):
        """One bucket takes objects from `friend`, by its ACL, and from anyone, by its policy."""
        self.owner.put_bucket_acl(Bucket=self.shared, GrantFullControl="id=parity", GrantWrite="id=friend")
        things = f"arn:aws:s3:::{self.shared}/*"
        anyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": things}
        policy = {"Version": "2012-10-17", "Statement": [anyone]}
        self.owner.put_bucket_policy(Bucket=self.shared, Policy=json.dumps(policy))

    def truth(self, bucket, key):
        """What S3 itself says of an object, by the names of a record's fields; nothing if it is a stranger's."""
        client, place = self.buckets[bucket], {"Bucket": bucket, "Key": key}
        if bucket == self.shared:
            return {}
        head = client.head_object(**place)
        tags = client.get_object_tagging(**place).get("TagSet", [])
        metadata = sorted(head["Metadata"].items())
        return {
            "s3.object.size": head["ContentLength"],
            "s3.object.metadata": [{"key": f"x-amz-meta-{name}", "val": value} for name, value in metadata],
            "s3.object.tags": [{"key": tag["Key"], "val": tag["Value"]} for tag in tags],
        }


class World:
    """Two sides alike: of `beside` RGW notifies too, of `alone` our script only.

    The second one is needed because RGW, to notify, reads more of an object, and a script then sees what it would not
    see otherwise."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.url = f"http://127.0.0.1:{cluster.s3_port}"
        self._users = []
        self._topics = []
        self.owner = self._make_user("parity")
        self.friend = self._make_user("friend")
        self.keeper = self._make_user("keeper", f"--tenant={TENANT}")
        cluster.admin("subuser", "create", "--uid=parity", "--subuser=parity:swift", "--access=full")
        cluster.admin("key", "create", "--subuser=parity:swift", "--key-type=swift", "--secret=swift")
        self.member = None
        if cluster.release == "20.2":
            cluster.admin("account", "create", "--account-name=parity", f"--account-id={ACCOUNT}")
            self.member = self._make_user("member", f"--account-id={ACCOUNT}", "--account-root")
        self.beside, self.alone = Side(self, "beside"), Side(self, "alone")

    def _make_user(self, name, *options):
        """Makes a user whose keys are both its name; returns its S3 client."""
        keys = (f"--access-key={name}", f"--secret-key={name}")
        self.cluster.admin("user", "create", f"--uid={name}", f"--display-name={name}", *keys, *options)
        self._users.append([f"--uid={name}", *(one for one in options if one.startswith("--tenant"))])
        return self.cluster.s3(name, name)

    def notify(self, endpoint, broker):
        """From now on RGW notifies of one side by HTTP, and our script of both by NATS."""
        topics = {}
        for bucket, client in self.beside.buckets.items():
            if client not in topics:
                topics[client] = self._make_topic(client, endpoint)
            rule = {"Id": NAME, "TopicArn": topics[client], "Events": EVENTS}
            rules = {"TopicConfigurations": [rule]}
            client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=rules)
        self.cluster.put_script(script(broker.url, RULE))
        self.cluster.put_script(script(broker.url, RULE), tenant=TENANT)

    def _make_topic(self, client, endpoint):
        credentials = client._request_signer._credentials
        sns = boto3.client(
            "sns",
            endpoint_url=self.url,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            # The name of RGW's zonegroup, which stands in a topic's ARN.
            region_name="default",
            config=botocore.config.Config(retries={"max_attempts": 0}),
        )
        attributes = {"push-endpoint": endpoint.url, "OpaqueData": OPAQUE}
        arn = sns.create_topic(Name=NAME, Attributes=attributes)["TopicArn"]
        self._topics.append((sns, arn))
        return arn

    def close(self):
        """Takes all of it away, the scripts first."""
        admin = self.cluster.admin
        admin("script", "rm", "--context=postRequest", check=False)
        admin("script", "rm", "--context=postRequest", f"--tenant={TENANT}", f"--uid={TENANT}$any", check=False)
        for sns, arn in self._topics:
            sns.delete_topic(TopicArn=arn)
        if self.member:
            for side in (self.beside, self.alone):
                admin("bucket", "rm", f"--bucket={side.accounts}", "--purge-objects")
        for user in self._users:
            admin("user", "rm", *user, "--purge-data")
        if self.member:
            admin("account", "rm", f"--account-id={ACCOUNT}")
