"""One small, real-looking source a format, for tests that treat all formats alike."""

from __future__ import annotations

USFM = r"""\id JHN World English Bible
\h John
\mt The Good News
\c 3
\s Nicodemus
\p
\v 16 For God so \add loved\add* the world,\f + \ft Or, kosmos\f* that he
gave \w his|strong="G846"\w* Son.
\q1
\v 17-18 \wj “Whoever believes.”\wj*
\q2 Selah
"""

USX = """<?xml version="1.0" encoding="utf-8"?>
<usx version="3.0">
  <book code="JHN" style="id">World English Bible</book>
  <chapter number="3" style="c" sid="JHN 3" />
  <para style="s1">Nicodemus</para>
  <para style="p">
    <verse number="16" style="v" sid="JHN 3:16" />For <char style="w" strong="G1">God</char> so\
<note caller="+" style="f"><char style="ft">Or, thus</char></note>, loved.<verse eid="JHN 3:16" />
  </para>
  <chapter eid="JHN 3" />
</usx>
"""

USFX = """<?xml version="1.0" encoding="utf-8"?>
<usfx xmlns:xsi="http://eBible.org/usfx.xsd" xsi:noNamespaceSchemaLocation="usfx.xsd">
<languageCode>eng</languageCode><book id="PSA"><id id="PSA">World English Bible</id><h>Psalms</h>
<toc level="1">The Psalms</toc><p sfm="mt" level="1" style="mt1">The Psalms</p><c id="3"/>
<d>A Psalm by <nd>David</nd>.<f caller="+">n</f></d>
<q level="1"><v id="1" bcv="PSA.3.1"/><w s="H3068">LORD</w>, how my<x caller="-">Ps 1:1</x> foes</q>
<q level="2">have <add>increased</add>! <qs>Selah.</qs><ve/></q><s>Trust</s>
<q><v id="2-3"/>Many<optionalLineBreak/>say<ve/></q></book></usfx>
"""

OSIS = """<?xml version="1.0" encoding="UTF-8"?>
<osis xmlns="http://www.bibletechnologies.net/2003/OSIS/namespace"><osisText osisIDWork="x">
<header><work osisWork="x"><title>A Bible</title></work></header>
<div type="book" osisID="Ps"><chapter osisID="Ps.3">
<title>A Psalm of David.</title>
<verse osisID="Ps.3.1">LORD, how are they<note>Or, why</note> increased!</verse>
<verse sID="Ps.3.2" osisID="Ps.3.2"/><l>Many say</l><l>of me.<verse eID="Ps.3.2"/></l>
</chapter></div></osisText></osis>
"""

ZEFANIA = """\ufeff<?xml version="1.0" encoding="utf-8"?>
<!-- a comment -->
<XMLBIBLE biblename="Weymouth NT"><INFORMATION><title>W</title></INFORMATION>
<BIBLEBOOK bnumber="40" bname="Matthew"><CHAPTER cnumber="1"><CAPTION>Title</CAPTION>
<VERS vnumber="1">The <STYLE css="i">Genealogy</STYLE><NOTE>n</NOTE> of Jesus.</VERS>
</CHAPTER></BIBLEBOOK></XMLBIBLE>
"""

BODRUK_JSON = """\ufeff[{"abbrev": "Jó", "chapters": [["Havia um homem.  ", ""]], "name": "Jó"},
{"abbrev": "Jo", "chapters": [["No principio", "era o Verbo."], ["E ao terceiro dia"]]}]
"""

SCROLLMAPPER_CSV = '''Book,Chapter,Verse,Text
I Samuel,1,1,"Now, there was a man"
I Samuel,1,2,
Revelation of John,1,1,"The ""Revelation"""
'''

VREF_LIST = "PSA 13:4\nPSA 13:5\nPSA 13:6\nPSA 14:1\n"
VREF_TEXT = "\nBut I trust.\n<range>\nThe fool.\n"

SINGLE_FILES: dict[str, str] = {
    "usfm": USFM,
    "usx": USX,
    "usfx": USFX,
    "osis": OSIS,
    "zefania": ZEFANIA,
    "bodruk_json": BODRUK_JSON,
    "scrollmapper_csv": SCROLLMAPPER_CSV,
}
"""Formats of which one file is a whole version."""
