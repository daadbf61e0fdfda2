"""Secrets in forms of their own: markup, form data, pairs, commands, connection strings, manifests."""

from __future__ import annotations

import base64
import json
import random
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible.config import RedactionSettings
from indelible.redact.explain import Explainer
from indelible.redact.texts import Texts
from tests.effort import examples
from tests.redacting import stays_linear

Args = Callable[[Any], Any]
R = "[REDACTED]"


class Redacted:
    """Arguments, redacted by a configuration."""

    def __init__(self, settings: RedactionSettings) -> None:
        self._explainer = Explainer(settings, b"k" * 32)

    def __call__(self, value: Any) -> Any:
        return self._explainer.document(value)[0]


TEXTS = Texts(RedactionSettings())

TEMPLATES = (
    # JSON and manifests within a text, and as Python shows them
    'HTTP 400: {"kty": "oct", "k": "{}"} is no key',
    """['{"crv": "P-256", "d": "{}", "kty": "EC"}']""",
    'found {"keys": [{"kty":"RSA","n":"a","p":"{}","e":"AQAB"}]}',
    'sent [{"name": "X-Api-Key", "value": "{}"}] to it',
    "{'headers': [{'Key': 'db.password', 'Value': '{}'}]}",
    '<p x="--b\r\nContent-Disposition: form-data; name=&quot;password&quot;\r\n\r\n{}\r\n--b--">',
    'server said {"kind": "Secret", "metadata": {"name": "db"}, "data": {"a": "{}"}} is no good',
    """['{"data": {"a.json": "{\\\\"b\\\\": \\\\"{}\\\\"}"}, "kind": "Secret"}']""",
    "kind: Secret\nstringData: {db: '{}'}\ntype: Opaque\n",
    "ValueError('apiVersion: v1\\nkind: Secret\\ndata:\\n  db: {}\\n')",
    """["sh -c \\'db --password=\\'\"\\'\"\\'{}\\'\"\\'\"\\'\\'"]""",
    """['EXEC(\\'SET PASSWORD = \\'\\'{}\\'\\' x\\')']""",
    # XML and HTML: elements, attributes, the name beside the value
    "<config><password>{}</password><a>b</a></config>",
    "<ns:Password type='x'>{} two</ns:Password>",
    "<db-password>\n  {}\n</db-password>",
    "<password><![CDATA[{}]]></password>",
    "<credentials><entry>{}</entry></credentials>",
    '<conn user="sa" password="{} b"/>',
    "<conn password='{}' x='1'>",
    '<add key="ApiKey" value="{}"/>',
    '<property name="db.password" value="{}"/>',
    '<property name="db.password">{}</property>',
    '<input type="password" name="x" value="{}">',
    '<input value="{}" name="csrf_token"/>',
    "&lt;password&gt;{}&lt;/password&gt;",
    "<key>password</key>\n<string>{}</string>",
    "<member><name>password</name><value><string>{}</string></value></member>",
    # multipart/form-data
    '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n{} two\r\n--b--',
    "--b\nContent-Disposition: form-data; name=api_key\nContent-Type: text/plain\n\n{}\n--b--",
    '--b\r\nContent-Disposition: form-data; name="token"; filename="a"\r\n\r\n{}',
    'body = "Content-Disposition: form-data; name=\\"pin\\"\\r\\n\\r\\n{}\\r\\n--b"',
    # pairs in brackets
    "headers=[('password', '{}'), ('b', 'c')]",
    'x = [["password", "{}"], ["a", "b"]]',
    "define('DB_PASSWORD', '{}');",
    'localStorage.setItem("authToken", "{} x")',
    # commands
    "curl -u user:{} https://a.example/c",
    "curl -sSu user:{} https://a.example/c",
    "curl --user user:{} https://a.example/c",
    "curl https://a.example -U 'user:{} x'",
    "curl -uadmin:{} https://a.example/c",
    "curl -u {}: https://a.example/c",
    "curl --proxy-user=a:{} https://a.example/c",
    "curl -sb 'session={} x; a=b' https://a.example/c",
    "curl https://a.example/c -b sid={}",
    "curl -E client.pem:{} https://a.example/c",
    "curl --cert client.pem:{} https://a.example/c",
    'subprocess.run(["curl", "-b", "sid={}", "https://a.example"])',
    "curl -X POST \\\n  -u ada:{} \\\n  https://a.example",
    'curl -H "Authorization: Foo {}" https://a.example',
    "subprocess.run(['curl', '-u', 'ada:{}'])",
    "cd /tmp && sudo curl.exe -u ada:{} x",
    "docker login -u me -p {} reg.example.com",
    "podman login -p={} reg.example.com",
    "mysql -u root -p{} db",
    "sshpass -p {} ssh h",
    "sshpass -p'{}' ssh h",
    "redis-cli -h h -a {} ping",
    "mongosh -u a -p {} db",
    "ldapsearch -x -D cn=a -w {} -b dc=b",
    "zip -P {} a.zip b",
    "7z a -p{} x.7z",
    "smbclient //h/s -U user%{}",
    "kubectl create secret generic x --from-literal=db={}",
    "aws configure set aws_secret_access_key {}",
    "git config --global http.token {}",
    "setenv X_TOKEN {}",
    "FROM x\nENV X_TOKEN a {}\nRUN y",
    # connection strings
    "Server=x;Database=d;User Id=sa;Password=abc {};Encrypt=yes",
    "Server=x;Password=abc {}",
    "jdbc:mysql://h/db?user=a&password={}&x=1",
    "jdbc:oracle:thin:scott/{}@//h:1521/x",
    "sqlplus -S scott/{}@db",
    "postgres://u:{}%40%2F@h/db",
    "postgres://u:a/b{}@h/db",
    "mysql+pymysql://u:a#b{}@h/db",
    "amqp://u:a?{}@h/db",
    "root:{}@tcp(h:3306)/db",
    # files of programs
    "machine api.example.com login me password {}",
    "machine api.example.com\n  login me\n  password {}\n",
    "default login me password {}",
    "db.example.com:5432:mydb:me:{}",
    "*:*:*:me:{}\nh:6432:mydb:me:x\n",
    "[default]\naws_access_key_id = A\naws_secret_access_key = {}",
    "export X_TOKEN='a {} b'",
    "export X_TOKEN=a\\ {}",
    'password = """{} b"""',
    "password = '''a\n{} b'''",
    "ansible_ssh_pass={}",
    "kind: Secret\nmetadata:\n  name: x\nstringData:\n  db: {}\n",
    "apiVersion: v1\nkind: Secret\ndata:\n  a: x\n  b: |\n    y\n    {}\n  c: z\ntype: Opaque\n",
    "kind: List\n---\nkind: Secret\nstringData:\n    tls.key: >-\n      a\n\n      {}\n---\nkind: ConfigMap\n",
    "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 2\nAAAAIA{}\nb3Bl\nPrivate-MAC: 0f",
    "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    '<Connector port="1" keystorePass="{}"/>',
    "keytool -list -storepass {}",
    # Markdown, and texts with a type or a prefix in front of them
    "**Password:** {}",
    "- **API key:**  {} two\n- b",
    "*Token*: {}",
    "__Password:__ `{} x`",
    "password: str = '{} x'",
    "def f(a, api_key: Optional[str] = '{}', b=1): ...",
    "token: str | None = f'{} x'",
    'const password: string = "{} x";',
    "password = f'{} x'",
    'let secret = b"{} x";',
    'var password = @"{} x";',
    "CREATE LOGIN x WITH PASSWORD = N'{} x', CHECK_POLICY = ON",
    "password=a/token=N'b {} c'",
    "password=a/token: str = 'b {} c'",
    "password = hunter2 = '{}'",
    # words
    "passphrase=correct horse {} battery",
    "the passphrase: correct {} battery",
    "my seed phrase = abandon ability {} about",
    "ALTER USER x PASSWORD '{}'",
    "CREATE USER x IDENTIFIED BY '{} two'",
    "CREATE ROLE x WITH LOGIN PASSWORD 'a {}'",
    "CREATE USER x IDENTIFIED WITH mysql_native_password BY '{}';",
    "SET PASSWORD FOR x = PASSWORD('{}')",
    "SET PASSWORD FOR 'ada'@'%' = '{} two'",
    "psql -c \"ALTER USER x PASSWORD \\'{}\\'\"",
    "impdp scott/{}@db directory=d",
    'ConvertTo-SecureString "{} x" -AsPlainText -Force',
    # quotes within quotes: of a shell, of what doubles them
    """bash -c 'export X_PASSWORD='"'"'{} x'"'"' && run'""",
    """bash -c 'export X_PASSWORD='\\''{} x'\\'' && run'""",
    """ssh h 'curl -u '"'"'ada:{}'"'"' https://a.example'""",
    "ssh h " + shlex.quote(shlex.quote("mysql -p'{}' db")),
    "EXECUTE 'ALTER USER x PASSWORD ''{} y''';",
    "INSERT INTO t VALUES ('password=''{} x''')",
    '1,"{""password"":""{} x""}",2',
    'powershell -c "curl -u ""ada:{}"" x"',
    # what a program reads from another
    "echo '{} | x' | sudo -S apt update",
    "echo ada:{} | sudo chpasswd",
    'echo "{}" | docker login -u me --password-stdin r.example',
    "printf %s {} | gh secret set X",
    "sudo -S ls <<< '{} x'",
    # further programs and settings
    "lftp -u ada,{} h",
    "sqlcmd -S h -U sa -P{}",
    "gh secret set X --body {}",
    "aws ssm put-parameter --name n --type SecureString --value {}",
    "ssh-keygen -t ed25519 -N '{} x' -f k",
    "twine upload -u __token__ -p {} dist/x",
    "setx X_TOKEN {}",
    'log: "aws configure set aws_secret_access_key \\"{}\\""',
    'dotnet user-secrets set "Db:Password" "{} x"',
    "poetry config pypi-token.pypi {}",
    "CONFIG SET requirepass {}",
    "port 6379\nrequirepass {}\n",
    "hostname r1\nsnmp-server community {} RO\n",
    "username ada privilege 15 password 0 {}",
    "dn: cn=ada\nuserPassword:: {}\ncn: ada",
    "password::{}",
)

secrets = st.text(alphabet="QWXZqwxz", min_size=10, max_size=16)


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_secret_is_left(template: str, args: Args) -> None:
    secret = "hUnter2x"
    text = template.replace("{}", secret)
    _is_gone(secret, text, args)
    encoded = base64.b64encode(text.encode()).decode()
    assert encoded[:20] not in args({"value": encoded})["value"]


def _is_gone(secret: str, text: str, args: Args) -> None:
    for value in (text, {"a": text, "n": 1}, ["x", text], json.dumps({"inner": text}), f"run this:\n{text}"):
        kept = args({"value": value})
        assert secret not in json.dumps(kept)
        assert args(kept) == kept


@pytest.mark.parametrize(
    "template",
    [
        "contraseña: {}",
        "la CONTRASEÑA={}",
        "contrasen\u0303a = '{} x'",
        "пароль: {}",
        "ПАРОЛЬ={}",
        "hasło: {}",
        "登录密码: {}",
    ],
)
def test_names_in_other_scripts_tell_as_well(template: str, args: Args) -> None:
    _is_gone("hUnter2x", template.replace("{}", "hUnter2x"), args)
    _is_gone("hUnter2x", template.replace("{}", "hUnter2x"), Redacted(RedactionSettings(keys=("kennwörter",))))


def test_names_of_the_configuration_in_other_scripts_tell_in_texts() -> None:
    args = Redacted(RedactionSettings(keys=("kennwörter", "номер дела")))
    for text in ("kennwörter: hUnter2x", "KENNWÖRTER=hUnter2x", "номер дела: hUnter2x", "номер_дела=hUnter2x"):
        _is_gone("hUnter2x", text, args)


def test_a_command_of_powershell_in_base64_is_read() -> None:
    """It is base64 of UTF-16, which no text in UTF-8 looks like."""
    for encoding in ("utf-16-le", "utf-16-be", "utf-16"):
        encoded = base64.b64encode("$password = 'hunter2'; Get-Item x".encode(encoding)).decode()
        assert TEXTS.redact(f"powershell -EncodedCommand {encoded}") == f"powershell -EncodedCommand {R}"
    harmless = base64.b64encode("Get-ChildItem -Recurse C:/src".encode("utf-16-le")).decode()
    assert TEXTS.redact(harmless) == harmless


@given(
    st.sampled_from(TEMPLATES),
    st.sampled_from(TEMPLATES),
    st.sampled_from(("\n", "\n\n", "\r\n---\r\n")),
    secrets,
    secrets,
)
@settings(deadline=None, max_examples=examples(400))
def test_one_form_hides_none_of_another(one: str, other: str, glue: str, first: str, second: str) -> None:
    text = one.replace("{}", first) + glue + other.replace("{}", second)
    kept = TEXTS.redact(text)
    assert first not in kept, kept
    assert second not in kept, kept
    assert TEXTS.redact(kept) == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("<a><password>x y</password><b>c</b></a>", f"<a><password>{R}</password><b>c</b></a>"),
        ('<add key="ApiKey" value="x" z="1"/>', f'<add key="ApiKey" value="{R}" z="1"/>'),
        ("curl -u ada:x https://a.example", f"curl -u {R} https://a.example"),
        ("curl -uada:x -o /tmp/x https://a.example", f"curl -u{R} -o /tmp/x https://a.example"),
        ("curl -u a:b x; curl -U c:d y", f"curl -u {R} x; curl -U {R} y"),
        ("mysql -u root -px -h db shop", f"mysql -u root -p{R} -h db shop"),
        ("docker login -u me -p x r.example", f"docker login -u me -p {R} r.example"),
        ("machine a.example login me password x", f"machine a.example login me password {R}"),
        ("h:5432:d:me:x\nh:5433:d:me:y", f"h:5432:d:me:{R}\nh:5433:d:me:{R}"),
        ("postgres://u:a/b@h/db", f"postgres://{R}@h/db"),
        ("root:a/b@tcp(h:3306)/db", f"{R}@tcp(h:3306)/db"),
        ("Server=x;Password=a b;Uid=c", f"Server=x;Password={R};Uid=c"),
        ("define('API_KEY', 'x');", f"define('API_KEY', '{R}');"),
        ("kind: Secret\ndata:\n  a: eA==\n  b: eQ==\ntype: x\n", f"kind: Secret\ndata:\n  a: {R}\n  b: {R}\ntype: x\n"),
        ("passphrase=a b c, next", f"passphrase={R}, next"),
        ("if passphrase == other and ready", f"if passphrase == {R} and ready"),
        ("GPG_PASSPHRASE=x gpg --sign a", f"GPG_PASSPHRASE={R} gpg --sign a"),
        ("gpg --passphrase=x a.gpg", f"gpg --passphrase={R} a.gpg"),
    ],
)  # fmt: skip
def test_only_the_value_goes(text: str, kept: str) -> None:
    assert TEXTS.redact(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "usage: login <user> <password> [<token>]",
        "<password/>",
        "<password></password>",
        '<label id="password">Your secret word</label>',
        '<input name="token_count" value="5"/>',
        '<a href="/password">Forgotten?</a>',
        'columns = ["id", "password", "email"]',
        'required = ["password", "email"]',
        'form-data; name="file"\r\n\r\ncontent\r\n--b',
        "docker run -u 1000:1000 -p 8080:80 nginx",
        "docker run --user app:app image",
        "docker build -p x .",
        "curl -o out.txt https://a.example:8080/x",
        "curl -u ada https://a.example",
        "mysql -u root -p shop",
        "mkdir -p /srv/data; mv -p5 x",
        "ssh -p 2222 h; redis-cli -h a ping",
        "the curl manual says that -u takes user and password",
        "git push -u origin main",
        "redis://h:6379/0?x=a@b",
        "src/a.py:5432:12:E501:line",
        "a.c:12:5: error: x",
        "10:20:30:40:50",
        "kind: SecretStore\ndata:\n  a: b\n",
        "kind: ConfigMap\ndata:\n  a: b\n",
        "default values; the password is needed",
        "issues identified by the team",
        "kr.get_password('svc')",
        'ask("Enter password "); print("done ")',
        "ENV PATH /usr/bin",
        "git config user.name Ada",
        "Unexpected token '<' in JSON",
        "use std::pin::Pin; let t = Token::new(); crate::auth::Secret::from(x)",
        "SELECT email::text, phone::varchar(20) FROM people",
        '<svg xmlns:cc="http://creativecommons.org/ns#"><cc:Work>x</cc:Work></svg>',
        'echo "$PW" | sudo -S ls; echo ${TOKEN} | gh auth login --with-token',
        "echo done | tee x; ls | sudo tee y; echo a | sort",
        "docker login -u me --password-stdin r.example",
        'ssh-keygen -t ed25519 -N "" -f k',
        "x = ''; password = ''",
        'a,"",password\n"",b,""\n',
        """if c == '\\'' or d == '"': pass""",
        "the requirepass directive; config set maxmemory 1gb",
        "gh issue create --body hello; aws s3 cp a b",
        'gh issue create --label secret --body "It is broken"',
        "docker run -p 8080:80 login; docker compose -p login up",
        "echo y | sudo pacman -S ripgrep",
        'printf "%s\\n" "$PW" | sudo -S ls; echo %PW% | docker login --password-stdin',
        'echo "${{ secrets.PW }}" | docker login --password-stdin; echo $env:PW | gh auth login --with-token',
        "git config --global credential.helper 'cache --timeout=3600'",
        "envFrom:\n  - secretRef:\n      name: db\nimagePullSecrets:\n  - name: registry\n",
        "valueFrom:\n  secretKeyRef:\n    name: db\n    key: password\n",
        "SELECT * FROM t WHERE password = $1 AND token = ?",
        "enable password 2 factor authentication",
    ],
)
def test_what_looks_alike_stays(text: str, args: Args) -> None:
    assert TEXTS.redact(text) == text
    assert args({"value": text}) == {"value": text}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ([["password", "x"], ["a", "b"]], [["password", R], ["a", "b"]]),
        ({"headers": [["X-Api-Key", "x"], ["Accept", "y"]]}, {"headers": [["X-Api-Key", R], ["Accept", "y"]]}),
        ({"pair": [['{"password": "x"}', 0]]}, {"pair": [['{"password":"[REDACTED]"}', 0]]}),
        ([["pin", 1234]], [["pin", R]]),
        ([["a", ["token", "x"]]], [["a", ["token", R]]]),
        (["password", "x"], ["password", "x"]),
        ([["password", "x", "y"]], [["password", "x", "y"]]),
        ([["the password", "x"]], [["the password", "x"]]),
        ([["password", None], ["max_tokens", 5]], [["password", None], ["max_tokens", 5]]),
        (["curl", "-u", "ada:x", "y"], ["curl", "-u", R, "y"]),
        (["/usr/bin/curl", "--user=ada:x"], ["/usr/bin/curl", f"--user={R}"]),
        (["sudo", "mysql", "-uroot", "-px"], ["sudo", "mysql", "-uroot", f"-p{R}"]),
        (["docker", "login", "-u", "me", "-p", "x"], ["docker", "login", "-u", "me", "-p", R]),
        (["docker", "-D", "login", "-p", "x"], ["docker", "-D", "login", "-p", R]),
        (["docker", "run", "-p", "80:80", "login"], ["docker", "run", "-p", "80:80", "login"]),
        (["docker", "run", "-u", "1:1", "-p", "80:80"], ["docker", "run", "-u", "1:1", "-p", "80:80"]),
        (["curl", "-u", 5, "-u", "a:b"], ["curl", "-u", 5, "-u", R]),
        (
            {"kind": "Secret", "metadata": {"name": "n"}, "data": {"db": "eA==", "n": 1}, "stringData": {"x": "y"}},
            {"kind": "Secret", "metadata": {"name": "n"}, "data": {"db": R, "n": R}, "stringData": {"x": R}},
        ),
        ({"kind": "ConfigMap", "data": {"db": "x"}}, {"kind": "ConfigMap", "data": {"db": "x"}}),
        ({"kind": "Secret", "data": [1]}, {"kind": "Secret", "data": [1]}),
        (
            {"keys": [{"kty": "RSA", "kid": "a", "n": "b", "e": "AQAB", "d": "x", "p": "x", "oth": [{"r": "x"}]}]},
            {"keys": [{"kty": "RSA", "kid": "a", "n": "b", "e": "AQAB", "d": R, "p": R, "oth": R}]},
        ),
        ({"kty": "oct", "k": "x", "alg": "HS256"}, {"kty": "oct", "k": R, "alg": "HS256"}),
        ({"kty": 1, "k": "x"}, {"kty": 1, "k": "x"}),
        ({"kty": "keyboard", "k": "qwerty", "q": "y"}, {"kty": "keyboard", "k": "qwerty", "q": "y"}),
        ({"kty": "EC", "x": "a", "y": "b", "d": "x"}, {"kty": "EC", "x": "a", "y": "b", "d": R}),
        ({"kty": "AKP", "pub": "a", "priv": "x"}, {"kty": "AKP", "pub": "a", "priv": R}),
        ({"k": 5, "d": 0.2, "p": 0.9}, {"k": 5, "d": 0.2, "p": 0.9}),
    ],
)  # fmt: skip
def test_values_of_json(value: Any, kept: Any, args: Args) -> None:
    assert args(value) == kept
    assert args(kept) == kept
    assert json.loads(args(json.dumps(value))) == kept


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_says_what_it_took(template: str) -> None:
    text = template.replace("{}", "hUnter2x")
    redacted, found = EXPLAINER.text(text)
    assert redacted == TEXTS.redact(text)
    assert any(
        one.begin is not None and one.begin < text.index("hUnter2x") + 8 <= (one.end or 0) for one in found
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [["password", "x"]]}, [("key", ".a[0][1]")]),
        ({"a": ["curl", "-u", "b:c"]}, [("command", ".a[2]")]),
        ({"kind": "Secret", "data": {"db": "x"}}, [("manifest", ".data.db")]),
    ],
)
def test_it_says_what_it_took_of_json(value: Any, said: list[tuple[str, str]]) -> None:
    _, found = EXPLAINER.document(value)
    assert [(one.rule, one.path) for one in found] == said


EXPLAINER = Explainer(RedactionSettings(), b"k" * 32)

BLOCKS = (
    "<password>", "<password>x</password>", "<password1", "<a name='password' ", "<key>password</key><string>",
    'form-data; name="password"\r\n\r\n', '("password", "', '[["password","x"],', "password '", 'password "x',
    "machine x login y password ", "ENV X_TOKEN ", "setenv token '", "curl -u a:b ", "curl -u ", '"curl","-u",',
    "docker login -p x\n", "curl '", "kind: Secret\ndata:\n  a: b\n", "kind: Secret\n---\n", "postgres://u:",
    "postgres://a:b/", "x:y@tcp(", "*:*:a:b:c\n", "sqlplus a/b@", "identified by '", "--from-literal=a=b ",
    'password = """', "a=b;password=c d ", "passphrase=a b ", "&lt;password&gt;", "x=1;Pwd=a\\ ",
    "password='\"'\"'x", "password='\\''x", "'\"'\"'", "password=''x ", 'password=""x""', "echo x | sudo -S ",
    '"kty":"EC","d":"x', '{"kty":"EC","d":"x"}', "'kind: Secret\\ndata:\\n  a: b\\n", "'\"kind: ",
    '"kind":"Secret","data":{"a', '"kind":"Secret","data":{"a":"b"},', "\\'\"\\'\"\\'",
    "\\\\\\'", "<p name='password'>", "\\" * 20,
    '"name": "token", "value": "', "?code=a1_", "eyJkeyJ", "ACCAT", "sudo -u a -n ", "password=\\'\\'x",
    "echo 'x ", "sudo -S <<< 'x", "echo x | ", "token::a::", "Token::", "curl -u ''x", "lftp -u a,",
    "snmp-server community x\n",
)  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_time_grows_with_the_size(block: str) -> None:
    assert stays_linear(TEXTS.redact, block)


def test_ends_that_are_far_away_are_found() -> None:
    secret = "".join(random.Random(1).choices("qwxz", k=40_000))
    for text in (
        f"<password>{secret}</password>",
        f'form-data; name="token"\r\n\r\n{secret}\r\n--b',
        f"FROM x\nENV X_TOKEN {secret}\nRUN y",
    ):
        assert "q" not in TEXTS.redact(text).replace("&", "")
