"""Which key names are sensitive: the tables, and nothing else.

A key is split into words (see `indelible.redact.keys`): ``X-API-Key``, ``apiKey`` and ``api_key`` are all
``api key``. Every table is written in such words, in the singular; a plural matches too. To argue about one
name, look here; what each table means stands above it.

Decided, and worth knowing:

- Page tokens (``next_page_token``, ``nextToken``) are redacted: they are opaque, some carry a query or open
  a result to whoever holds them, and nothing tells those apart. Cursors (``cursor``, ``next_cursor``) stay.
- ``session_id`` stays: tools use it as a plain handle. Session cookies and session tokens do not.
- ``pass``, ``pin``, ``auth`` and the like are too short to look for inside a name: only the whole key counts,
  or the pairs that are listed.
"""

from __future__ import annotations

from typing import Final

WORDS: Final = """
    password passwd pwd pswd passphrase passcode passwort kennwort contrasena contraseña senha wachtwoord parola
    motdepasse пароль hasło lösenord adgangskode salasana heslo şifre 密码 密碼 パスワード 暗証番号 비밀번호
    secret token authorization authorisation cookie credential jwt bearer otp totp apikey
    email phone telephone msisdn cellphone
    ssn cvv cvc cvv2 cvc2 iban
    psk htpasswd pgpass requirepass masterauth
    dob birthdate birthday
    jsessionid phpsessid sessid
"""
"""One of these among a key's words makes the key sensitive."""

SEQUENCES: Final = """
    pass word, pass wd, pass phrase, pass code, pass key, mot de passe, mot passe
    db pass, database pass, user pass, admin pass, root pass, smtp pass, imap pass, ftp pass, mysql pass,
    pg pass, redis pass, proxy pass, login pass, mail pass, sudo pass, wifi pass, ssh pass, become pass,
    basic pass, http pass, key pass, store pass, keystore pass, truststore pass, bind pass, confirm pass
    root pw, admin pw, user pw, bind pw, db pw
    api key, app key, application key, private key, secret key, access key, account key, encryption key,
    decryption key, signing key, signature key, master key, ssh key, auth key, authentication key, service key,
    subscription key, storage key, shared key, symmetric key, deploy key, webhook key, consumer key,
    license key, licence key, session key, hmac key, aes key, rsa key, server key, client key, admin key,
    recovery key, security key, wrapping key, integration key, instrumentation key, preshared key,
    tls key, ssl key, gpg key, pgp key, bot key, sas key, write key, ingest key
    auth header, auth code, authorization code, auth data, auth string, auth info, basic auth, proxy auth,
    http auth, x auth
    e mail, mail address, mail addr
    phone number, mobile number, mobile phone, cell number, cell phone, fax number, tel number, tel no,
    contact number, telefon nummer, mobile no
    social security, social insurance, national insurance, national id, national identification,
    passport number, passport no, passport id, tax id, tax number, taxpayer id, driver license, driver licence,
    drivers license, drivers licence, driving license, driving licence, license number, licence number
    date of birth, birth date, birth day
    credit card, debit card, card number, card no, card num, payment card, card pin, card code, card security,
    security code, cc number, cc num, cc no, cc cvv, name on card, primary account number
    openai key, anthropic key, claude key, gemini key, mistral key, cohere key, stripe key, sendgrid key, twilio key,
    cosmos key, api pass, rediscli auth, bw session
    bank account, account number, account no, routing number, sort code
    pin code, pin number, user pin, pin hash, sim pin
    connection string, conn string, conn str, sas url
    security answer, security question, recovery code, backup code, verification code, two factor code,
    mfa code, one time code, seed phrase, recovery phrase, mnemonic phrase, shared access signature
    php sess id, connect sid, sess id, asp net session id
"""
"""These words next to each other, in this order, make the key sensitive."""

WHOLE_KEYS: Final = """
    pass, pin, auth, mail, tel, mobile, fax, mfa, sid, mdp, pw, creds, cred, pan, cc, ccv, csc, sin, nin, mnemonic
"""
"""Sensitive only when the key is nothing else."""

STEMS: Final = """
    password passwd passphrase passcode passwort apikey apitoken apisecret accesstoken authtoken refreshtoken
    sessiontoken bearertoken idtoken csrftoken xsrftoken clientsecret appsecret secretkey secretaccesskey
    privatekey accesskey accountkey signingkey encryptionkey masterkey sshkey authkey sharedkey creditcard
    debitcard cardnumber socialsecurity emailaddr mailaddress phonenumber telephonenumber mobilenumber
    mobilephone homephone workphone userphone dateofbirth connectionstring connstr setcookie sessioncookie
    bankaccount accountnumber passportnumber dbpass userpass
"""
"""Inside one unsplit word (``dbpassword``, ``myapikey``) they cannot mean anything else."""

ENDINGS: Final = "email token secret pwd cvv ssn cookie credential 密码 密碼 パスワード 비밀번호"
"""At the end of one unsplit word: ``useremail``, ``mytoken``, ``topsecret``, ``dbpwd``, ``登录密码``."""

HARMLESS_ENDINGS: Final = "voicemail nontoken detoken"
"""Unsplit words that end as one of `ENDINGS` and mean something else."""

ALLOWED: Final = """
    max_tokens max_new_tokens max_output_tokens max_input_tokens max_completion_tokens max_prompt_tokens
    max_context_tokens max_total_tokens max_tokens_to_sample max_response_tokens max_thinking_tokens min_tokens
    max_token min_new_tokens
    input_tokens output_tokens total_tokens prompt_tokens completion_tokens cached_tokens reasoning_tokens
    thinking_tokens context_tokens input_token_count output_token_count total_token_count prompt_token_count
    cache_read_input_tokens cache_creation_input_tokens candidates_token_count thoughts_token_count
    accepted_prediction_tokens rejected_prediction_tokens audio_tokens text_tokens image_tokens
    input_tokens_details output_tokens_details prompt_tokens_details completion_tokens_details
    token_count tokens_count count_tokens num_tokens n_tokens number_of_tokens tokens_used used_tokens
    tokens_remaining remaining_tokens token_limit tokens_limit token_budget token_usage tokens_per_second
    tokens_per_minute tokens_per_day token_rate token_length token_window token_cost cost_per_token
    price_per_token tokenizer tokenizers tokenizer_name tokenization tokenize
    stop_token stop_tokens eos_token bos_token pad_token unk_token sep_token cls_token mask_token special_tokens
    stop_token_ids eos_token_id bos_token_id pad_token_id token_ids token_index token_position token_offset
    token_type tokentype token_type_ids token_url token_uri token_endpoint token_expires token_expires_in
    token_expires_at token_expiry token_ttl token_lifetime design_tokens
    token_endpoint_auth_method token_endpoint_auth_methods_supported token_endpoint_auth_signing_alg
    password_length password_min_length min_password_length password_policy password_required
    password_stdin password_strength password_expired password_last_changed password_changed_at has_password
    secret_name secret_id secret_type secret_arn secret_version secret_count secret_scanning
    secret_key_ref secret_ref secret_store_ref existing_secret image_pull_secrets
    cookie_policy cookie_consent cookie_name cookie_domain cookies_enabled cookie_path
    email_verified email_count email_enabled email_notifications email_template email_subject email_type
    email_format email_provider email_id has_email
    phone_type phone_verified phone_model phone_count
    phone_country_code otp_length otp_enabled
    credential_helper credential_type credential_id credentials_type authorization_endpoint authorization_servers
    authorization_type authorization_code_flow grant_type
    api_key_name api_key_id api_key_count signing_key_id hmac_key_id encryption_key_id ssh_key_name
    session_key_type primary_key public_key foreign_key secret_manager secrets_manager jwt_algorithm jwt_issuer
"""
"""Whole keys, in any spelling, that are never sensitive by name."""

URL_PARAMETERS: Final = "sig signature x-amz-signature x-amz-credential x-goog-signature x-goog-credential"
"""Sensitive as parameters of a URL's query only."""
