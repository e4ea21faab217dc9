"""A HEIC picture: nothing on the package index under a free licence writes one for the tests.

pillow-heif 1.8.1 made it from `scan(64)`, `scan(64)[::-1]` and `scan(64).T` as red, green and blue, with quality 60.
Its EXIF data say that it lies on its side; in HEIC that does not count, the turn that the container itself names does.
"""

from __future__ import annotations

import base64

HEIC = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004(ZDn*}000000000XXk=`10000000000aA{+700000000000000000000G-+&aV*mgE07O6l"
    "0ssL300001y8r<I0000000C(L0ssI200Sfd0RR9100000Bme*aIB98aW&i*H00062000$fZf0cy000000RRAKc4ILB0000LX>Mj^0ssI300IC2"
    "MR;ju000004sdC7Z2$lO00031007o$aB^?}006gXaAR)(004Msc4I>U18@KU0FVFx0000U@BsY%`1k+-4+CHT0RR|40Sp2E{{wIU00RJ!00093"
    "00RIXx&lC90096iLID8-Z~y=U0FVFx0{{R603M(qfd!W8Nhz*w0vZem00093$N&HX00=;000968L;=Baup&SJ000wXZ)|dIV{CW;0RRmE27mwn"
    "02FC+aAg1h0000006+i$06+i$01$9#cxeCt0009B2nYZG02gU+ZD9Za00000009621c3qr1ONa48fkK6W&i*H000004r63<V*mmG0RRC200EV4"
    "WMOmw00Ctv0j~+*<F>PoU!im8&kqhatu^6vc9c0aoc$)(fM$RYWOha|=ut*GkG)FH3N1H;YHgKq3$XvF%>}evp;TqtaqLlQl`+4FhRkO#uP;Tt"
    "l<}6=U!Dd&9TL^tn@v&^7fV|I6hUk8b>t}&F`-pYNO)Tsf%xBz+eI%nO!#n$yFUBTlbXD_Z~&WzoTaX8&FABRz*Tiq7LV<<21p}QURtMe5!_O)"
    "Kxu@cvsO)*i$Gi0oGqkhrWeUESmkm(ysUOV+*xgD_j6WZzjObVHF^YO!2p=NdpmjR7RU1YS38NQRp$$96<Q=D_KDC6xu}RPF<JXoZtIC@4&&6`"
    "-3gPA(j0T>`@(VZ?GZPuN+S2j5q5IoK0p5VhMP!webtcuqM9k1AC>Mrex;k_eQl5m{!^vG9YJU(3jA?N)WizR^07KO96A<md&)(ODg-|HDVD|Y"
    "@f~bKy)UU5u>_2~00006MR;ju002!*04e|g00;m90TKWM0000100sa600000"
)
