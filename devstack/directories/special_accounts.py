# Gives accounts what samba-tool can't give them. Its argument is the domain's smb.conf.
import sys

import ldb
from samba import dsdb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

db = SamDB(session_info=system_session(), lp=LoadParm(sys.argv[1]))
for name, attribute, value in (
    ("stale", "pwdLastSet", "127000000000000000"),  # in the year 2003
    ("nohours", "logonHours", bytes(21)),
    ("elsewhere", "userWorkstations", "NOT-HERE"),
):
    change = ldb.Message(ldb.Dn(db, "CN=%s,CN=Users,%s" % (name, db.domain_dn())))
    change[attribute] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, attribute)
    db.modify(change, ["local_oid:%s:0" % dsdb.DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID])
