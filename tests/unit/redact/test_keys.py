"""Which keys hide their value: a table of both kinds, written by hand and not from the code's tables."""

# ruff: noqa: RUF001 - full-width letters that look like ASCII are what is tested

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from indelible.config import RedactionSettings
from indelible.redact.keys import KeyNames, split_words
from indelible.redact.texts import Texts

Args = Callable[[Any], Any]

SENSITIVE = """
password Password PASSWORD passWord PassWord pass_word pass-word password1 password2 newPassword old_password
db_password dbPassword DB_PASSWORD db.password db-password "db password" dbpassword userpassword mysqlPassword
passwords passwordHash password_hash hashedPassword ADMIN_PASSWORD smtp.password spring.datasource.password
passwd PASSWD userPasswd htpasswd pwd PWD user_pwd dbPwd dbpwd passphrase Passphrase key_passphrase pass_phrase
passcode passCode pass db_pass dbPass smtp_pass userPass user-pass rootPass pin PIN pin_code pinCode userPin
secret secrets Secret clientSecret client_secret CLIENT_SECRET client-secret ClientSecret clientsecret appSecret
app_secret shared_secret webhookSecret jwt_secret secretKey secret_key SECRET_KEY_BASE secretAccessKey
aws_secret_access_key AWS_SECRET_ACCESS_KEY topsecret mySecretValue
token tokens Token accessToken access_token ACCESS_TOKEN accesstoken access-token authToken auth_token refreshToken
refresh_token id_token idToken csrf_token csrfToken xsrf-token X-CSRF-Token bearerToken sessionToken session_token
githubToken GITHUB_TOKEN gh_token botToken bot_token slackToken npmToken NPM_TOKEN mytoken next_page_token
nextPageToken pageToken continuation_token device_token security_token X-Amz-Security-Token X-Auth-Token
tokenValue token_secret oauth_token oauthToken OAuthToken oauth2token
apiKey api_key API_KEY APIKey APIkey apikey ApiKey api-key X-API-Key x-api-key xApiKey "api key" openai_api_key
OPENAI_API_KEY anthropicApiKey apikeys api_keys apiKeys myapikey google.api.key appKey app_key
privateKey private_key PRIVATE_KEY private-key privatekey ssh_private_key sshPrivateKey PrivateKeyPem
accessKey access_key access_key_id accessKeyId AWS_ACCESS_KEY_ID accesskey account_key accountKey encryptionKey
encryption_key signing_key signingKey master_key masterKey sshKey ssh_key license_key licenseKey subscription-key
Ocp-Apim-Subscription-Key storage_key sharedKey shared_access_key consumer_key webhook_key session_key
authorization Authorization AUTHORIZATION proxy-authorization Proxy-Authorization auth Auth auth_code authCode
authHeader auth_header basic_auth x-auth cookie Cookie cookies Set-Cookie set_cookie sessionCookie session_cookie
credential credentials Credentials aws_credentials userCredentials creds jwt JWT jwtValue bearer otp OTP otp_code
totp totpSecret mfa_code recovery_code backupCodes verification_code two_factor_code seed_phrase mnemonic
email Email EMAIL e-mail E-Mail eMail e_mail emails emailAddress email_address emailaddress userEmail user_email
useremail contactEmail billing_email fromEmail recipientEmails mail mail_address
phone Phone phoneNumber phone_number PHONE_NUMBER phonenumber mobilePhone mobile_number mobileNumber telephone
cellPhone cell_number homePhone work_phone phones fax_number contactNumber msisdn tel
ssn SSN userSsn user_ssn SSNnumber socialSecurityNumber social_security_number social-security nationalId
passportNumber passport_no tax_id taxId driversLicense driver_license_number dateOfBirth date_of_birth dob birthDate
creditCard credit_card CREDIT_CARD creditcard credit-card creditCardNumber creditcardnumber cardNumber card_number
card-no cardnumber debitCard cvv CVV cvv2 CVV2 cvc cardCvc card_cvv security_code iban IBAN userIban accountNumber
account_number bankAccount bank_account_number routing_number sort_code
connectionString connection_string ConnectionString security_answer shared_access_signature
ｐａｓｓｗｏｒｄ ＡＰＩＫｅｙ pass\u200bword contraseña пароль passwort Kennwort senha
hasło lösenord Salasana şifre 密码 登录密码 密碼 パスワード 비밀번호 用户_密码
keyPass keystorePass KEYSTORE_PASS trustStorePass storepass bind_pass bindpw rootpw admin_pw pswd
"""

HARMLESS = """
max_tokens maxTokens MAX_TOKENS max-tokens maxtokens max_output_tokens maxOutputTokens max_completion_tokens
input_tokens inputTokens output_tokens total_tokens totalTokens prompt_tokens completion_tokens cached_tokens
reasoning_tokens token_count tokenCount num_tokens numTokens n_tokens tokens_used token_limit tokenLimit
token_budget tokenizer tokenizers tokenizer_name tokenization stop_token eos_token pad_token_id token_type
tokenType token_url token_endpoint tokens_per_second
path file_path filePath filename file_name directory folder cwd name username user_name userName user user_id
userId id uuid guid key keys keyword keywords keyboard keyName primary_key primaryKey foreign_key public_key
publicKey partition_key sort_key sortKey cache_key cacheKey object_key routing_key idempotency_key hotkey
monkey donkey turkey keystone
author authors authored authority authenticated authentication_method authMethod auth_type oauth oauth_version
title description content text body message messages query search pattern regex replace limit offset page
page_size pageSize cursor next_cursor nextCursor start end from to date time timestamp created_at updated_at
count total size length width height depth color colour url uri href link host hostname port scheme protocol
method headers params options flags mode encoding format type kind status state level priority version
language locale timezone country city street zip postal_code address ip ip_address mac_address
compass bypass passenger passage passed passing passive pass_rate pass_through passthrough test_passed trespass
mailbox mailing_list mailto_enabled voicemail webmail
microphone headphone saxophone xylophone earphones megaphone phonetic phoneme
secretary secretariat pinned pinning spinner pinpoint opinion shipping_pin_map pint
session_id sessionId session request_id requestId trace_id span_id correlation_id client_id clientId tenant_id
credit credits accredited card cards cardinal card_type wildcard cardboard scorecard dashboard_card discard
cookie_policy cookieConsent cookiecutter license licence signature signer sign_in design
account account_id accountId account_name bank branch number order_number orderNumber invoice_number tracking_number
security private is_private privacy access access_level accessibility master main_branch code codec error_code
country_code zip_code status_code exit_code qr_code mobile_first mobile_app telemetry television hotel
model temperature top_p top_k stream seed stop n prompt system role tools functions schema
sha256 sha hash digest checksum etag md5 commit branch repo repository owner issue pull_number labels milestone
latitude longitude altitude speed radius bbox zoom pan_x pan_y layer
css_class div_id selector xpath element locator screenshot viewport
first_name last_name full_name display_name nickname company department job_title gender age
reason note notes comment comments summary category tags rating score rank weight price amount currency quantity
"""


def _names(table: str) -> list[str]:
    quoted = [part for index, part in enumerate(table.split('"')) if index % 2]
    plain = " ".join(part for index, part in enumerate(table.split('"')) if not index % 2)
    return plain.split() + quoted


def test_the_table_is_large_enough_and_disjoint() -> None:
    sensitive, harmless = set(_names(SENSITIVE)), set(_names(HARMLESS))
    assert len(sensitive) >= 150
    assert len(harmless) >= 150
    assert not sensitive & harmless


@pytest.mark.parametrize("name", _names(SENSITIVE))
def test_sensitive(name: str, args: Args) -> None:
    for value in ("x", 7, None, True, ["x"], {"y": "x"}):
        assert list(args({name: value}).values()) == ["[REDACTED]"], value


@pytest.mark.parametrize("name", _names(HARMLESS))
def test_harmless(name: str, args: Args) -> None:
    assert args({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("APIKey", "api key"),
        ("X-API-Key", "x api key"),
        ("clientSecret", "client secret"),
        ("password2", "password 2"),
        ("db.user_name", "db user name"),
        ("getHTTPResponseCode", "get http response code"),
        ("ｄｂＰａｓｓ", "db pass"),
        ("Straße", "strasse"),
        ("", ""),
        ("___", ""),
    ],
)
def test_words(name: str, parts: str) -> None:
    assert split_words(name) == tuple(parts.split())


def test_depth_and_place_do_not_matter(args: Args) -> None:
    deep = {"a": [{"b": {"password": {"c": ["secret", {"d": 1}]}, "e": 1}}]}
    assert args(deep) == {"a": [{"b": {"password": "[REDACTED]", "e": 1}}]}


def test_configured_keys_and_allowed_keys() -> None:
    names = KeyNames(["employee id", "salary"], ["session_token", "E-Mail"])
    for name in ("employeeId", "EMPLOYEE-ID", "employee.id", "employeeid", "salary", "baseSalary"):
        assert names.sensitive(name), name
    for name in ("employee", "id", "sessionToken", "SESSION_TOKEN", "email", "eMail"):
        assert not names.sensitive(name), name
    assert names.sensitive("user_email")


TEXTS = Texts(RedactionSettings())
SPELLINGS = ("{}", "x_{}", "{}_x", "my{}", "{}s", "{}2", "\n{}", "{}\t", '"{}"', "a.{}.b", "é{}", "{} (1)")


@pytest.mark.parametrize("name", _names(SENSITIVE))
def test_the_prefilter_sees_every_sensitive_key(name: str) -> None:
    for spelling in SPELLINGS:
        key = spelling.replace("{}", name)
        if TEXTS.names.sensitive(key):
            assert TEXTS.flagged(orjson.dumps({key: 1})), key
            nested = orjson.dumps({"b": orjson.dumps({key: 1}).decode()}).decode()
            assert TEXTS.flagged(orjson.dumps({"a": nested})), key
