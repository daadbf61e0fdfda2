"""A bundle of evidence for somebody who has not got the trail, and trusts nobody who has."""
