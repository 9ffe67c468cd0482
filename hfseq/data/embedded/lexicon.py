"""The words of the embedded data set: what may fill a slot, in English and German.

To add a slot, add its values to `VALUES`: `English = German`, or one word where both are the same. German nouns bring
their article; a slash gives the dative of a word which changes without one. What stands behind `|` is held out: these
values occur in no training row.
"""

import re

from .grammar import Value

# What a date adds to the urgency; the others are far enough away to wait.
DEADLINES = {"today": 0.2, "tonight": 0.2, "this afternoon": 0.2, "tomorrow": 0.1, "tomorrow morning": 0.1}


def _value(entry: str, tagged: bool = True, held_out: bool = False) -> Value:
    en, _, de = (part.strip() for part in entry.partition("="))
    noun, _, dative = (de or en).partition("/")
    article, _, bare = noun.partition(" ")
    gender = {"der": "m", "die": "f", "das": "n"}.get(article, "")
    return Value(en, bare if gender else noun, dative, gender, DEADLINES.get(en, 0.0), tagged, held_out)


def entries(text: str) -> dict[str, str]:
    """Read lines of `name: content`; a content goes on in lines that are indented."""
    parts = (entry.partition(":") for entry in re.split(r"\n(?=\w)", text.strip()))
    return {name: " ".join(content.split()) for name, _, content in parts}


def _read(text: str, tagged: bool = True) -> dict[str, tuple[Value, ...]]:
    found = {}
    for slot, values in entries(text).items():
        seen, _, held_out = (part.split(";") for part in values.partition("|"))
        known = [_value(value, tagged) for value in seen]
        found[slot] = (*known, *(_value(value, tagged, held_out=True) for value in held_out if value))
    return found


VALUES = _read("""
city: Oslo; Rome = Rom; Paris; Berlin; Vienna = Wien; Lisbon = Lissabon; Athens = Athen; Cairo = Kairo; Nairobi; Lagos;
    Lima; Bogotá; São Paulo; Zürich; Warsaw = Warschau; Prague = Prag; Budapest; Dublin; Madrid; Seville = Sevilla;
    Milan = Mailand; Naples = Neapel; New York; Chicago; Toronto; Montréal = Montreal; Mexico City = Mexiko-Stadt;
    Mumbai; Delhi; Bangkok; Hanoi; Seoul; 東京 = Tokio; Sydney; Auckland; Casablanca; Accra; Dakar; Istanbul
    | Reykjavík; Łódź; Buenos Aires; Kyoto; Geneva = Genf; Venice = Venedig; Cape Town = Kapstadt; Malmö; Tallinn;
    Quito
contact: Anna; Ben; Carla; David; Emil; Fatima; Grace; Hiro; Ines; Jamal; Katrin; Liam; Mei; Noah; Olga; Priya;
    Quentin; Rosa; Samuel; Tomás; Uma; Viktor; Wanda; Xenia; Yusuf; Zoë; Łukasz; Aunt Clara = Tante Clara;
    Doctor Weber = Doktor Weber; Grandpa Otto = Opa Otto
    | Amélie; Björn; Chidi; Dmitri; Esther; Søren; Naledi; Uncle Theo = Onkel Theo; Ignacio
person: Marie Curie; Ada Lovelace; Alan Turing; Isaac Newton; Frida Kahlo; Nelson Mandela; Albert Einstein;
    Jane Austen; Emmy Noether; Johann Sebastian Bach; Clara Schumann; Simón Bolívar; Charles Darwin; Galileo Galilei;
    Niels Bohr; Wangari Maathai; Hedy Lamarr; Leonhard Euler; Ludwig van Beethoven; Louis Pasteur
    | Sofia Kovalevskaya; Srinivasa Ramanujan; Kurt Gödel; Harriet Tubman; Miguel de Cervantes
time: 7 am = 7 Uhr; 8 am = 8 Uhr; 9 am = 9 Uhr; 11 am = 11 Uhr; 2 pm = 14 Uhr; 5 pm = 17 Uhr; 6 pm = 18 Uhr;
    7:30 = 7:30 Uhr; 8:15 = 8:15 Uhr; 16:45 = 16:45 Uhr; 20:00 = 20 Uhr; half past six = halb sieben;
    quarter to nine = Viertel vor neun; noon = 12 Uhr mittags; midnight = Mitternacht
    | 10 am = 10 Uhr; 4 pm = 16 Uhr; 9:40 = 9:40 Uhr; quarter to five = Viertel vor fünf
date: today = heute; tonight = heute Abend; tomorrow = morgen; tomorrow morning = morgen früh; on Monday = am Montag;
    on Tuesday = am Dienstag; on Friday = am Freitag; on Sunday = am Sonntag; next week = nächste Woche;
    this weekend = dieses Wochenende; next month = nächsten Monat; on the 3rd of May = am 3. Mai; in June = im Juni;
    at Christmas = zu Weihnachten
    | on Thursday = am Donnerstag; in two weeks = in zwei Wochen; this afternoon = heute Nachmittag;
    at Easter = zu Ostern
duration: 10 minutes = 10 Minuten; 25 minutes = 25 Minuten; 45 seconds = 45 Sekunden;
    an hour = eine Stunde/einer Stunde; half an hour = eine halbe Stunde/einer halben Stunde; two hours = zwei Stunden;
    three days = drei Tage/drei Tagen; 90 minutes = 90 Minuten; a minute = eine Minute/einer Minute;
    6 hours = 6 Stunden
    | 35 minutes = 35 Minuten; four hours = vier Stunden; a whole day = einen ganzen Tag/einem ganzen Tag
song: Blue Bicycle; Seven Small Storms; Letters to the Lake; Paper Harbour; The Ninth Window; Velvet Tram;
    Salt and Cedar; Winter Has Two Doors; Kites over Kigali; Counting Ferries; Nachtzug; La Casa del Viento;
    Under the Tin Roof; Marble Afternoon; Eleven Lanterns; Ocean Postcards
    | Copper Rain; Sunday in Reverse; Ballad of a Borrowed Coat; Été sans Fin; Tangerine Sky
artist: The Copper Owls; Mina Falk; Juniper Street; Los Relojes; DJ Okapi; Tove and the Tides; Brass Lemonade;
    Émile Laroche; The Quiet Engines; Nino Baraka; Polar Radio; Sister Meridian; Karaoke Tax; Ruby Oduya
    | The Slow Comets; Ilse Brandvold; Café Atlas; Thunder Abacus
dish: pizza = die Pizza; soup = die Suppe; curry = das Curry; salad = der Salat; risotto = das Risotto;
    goulash = das Gulasch; omelette = das Omelett; stew = der Eintopf; apple pie = der Apfelkuchen;
    fish soup = die Fischsuppe; burger = der Burger; paella = die Paella; noodle salad = der Nudelsalat;
    potato gratin = das Kartoffelgratin; pancake = der Pfannkuchen; steak = das Steak; lasagna = die Lasagne;
    crème brûlée = die Crème brûlée
    | jollof rice = der Jollofreis; moussaka = die Moussaka; phở = die Phở; quiche = die Quiche; dumpling = der Knödel
ingredient: garlic = Knoblauch; ginger = Ingwer; rice = Reis; basil = Basilikum; tofu = Tofu; butter = Butter;
    honey = Honig; cinnamon = Zimt; spinach = Spinat; chicken = Hähnchen; salmon = Lachs; cheese = Käse;
    lemon = Zitrone; olive oil = Olivenöl; coconut milk = Kokosmilch; jalapeño = Jalapeño
    | cardamom = Kardamom; saffron = Safran; goat meat = Ziegenfleisch; açaí = Açaí
room: kitchen = die Küche; living room = das Wohnzimmer; bedroom = das Schlafzimmer; bathroom = das Badezimmer;
    garage = die Garage; hall = der Flur; office = das Büro; cellar = der Keller; garden = der Garten;
    nursery = das Kinderzimmer; dining room = das Esszimmer
    | pantry = die Speisekammer; guest room = das Gästezimmer; library = die Bibliothek
device: lamp = die Lampe; heater = die Heizung; fan = der Ventilator; coffee machine = die Kaffeemaschine;
    television = der Fernseher; radio = das Radio; oven = der Ofen; dishwasher = die Spülmaschine;
    washing machine = die Waschmaschine; printer = der Drucker; toaster = der Toaster; speaker = der Lautsprecher;
    router = der Router; night light = das Nachtlicht; air conditioner = die Klimaanlage; vacuum = der Staubsauger
    | kettle = der Wasserkocher; projector = der Beamer; humidifier = der Luftbefeuchter; freezer = die Gefriertruhe
temperature: 18 degrees = 18 Grad; 20 degrees = 20 Grad; 21 degrees = 21 Grad; 24 degrees = 24 Grad;
    30 degrees = 30 Grad; fifteen degrees = fünfzehn Grad; minus 5 degrees = minus 5 Grad; zero degrees = null Grad
    | 19 degrees = 19 Grad; 27 degrees = 27 Grad; twelve degrees = zwölf Grad
amount: 5; 20; 50; 75; 100; 250; 1500; 12.50 = 12,50; ten = zehn; forty = vierzig; two hundred = zweihundert;
    a thousand = tausend
    | 60; 130; 9.99 = 9,99; seventy = siebzig
currency: euros = Euro; dollars = Dollar; pounds = Pfund; yen = Yen; francs = Franken; rupees = Rupien;
    kroner = Kronen; pesos = Pesos; złoty = Złoty; rand = Rand
    | dirhams = Dirham; won = Won; liras = Lira
language: English = Englisch; French = Französisch; Spanish = Spanisch; Japanese = Japanisch; Polish = Polnisch;
    Swahili = Suaheli; Arabic = Arabisch; Hindi; Greek = Griechisch; Turkish = Türkisch; Finnish = Finnisch
    | Icelandic = Isländisch; Korean = Koreanisch; Portuguese = Portugiesisch
event: meeting = das Treffen; team meeting = die Teambesprechung; dentist appointment = der Zahnarzttermin;
    yoga class = die Yogastunde; party = die Feier; interview = das Interview; piano lesson = die Klavierstunde;
    concert = das Konzert; exam = die Prüfung; picnic = das Picknick
    | wedding = die Hochzeit; book club = der Buchclub; parade = der Umzug
purchase: order = die Bestellung; booking = die Buchung; subscription = das Abonnement; ticket = das Ticket;
    contract = der Vertrag; delivery = die Lieferung; insurance = die Versicherung
    | reservation = die Reservierung; gift card = die Geschenkkarte; loan = der Kredit
saying: thank you = danke; see you later = bis später; where is the station = wo ist der Bahnhof; cheers = prost;
    how much is it = wie viel kostet es; happy birthday = alles Gute zum Geburtstag; excuse me = Entschuldigung;
    I am lost = ich habe mich verirrt; one more coffee = noch einen Kaffee; sleep well = schlaf gut;
    how old are you = wie alt bist du; I live here = ich wohne hier; bless you = Gesundheit
    | welcome home = willkommen zu Hause; the bill = zahlen bitte; keep the change = stimmt so
""")
VALUES["origin"] = VALUES["destination"] = VALUES["city"]
VALUES |= _read(
    """
whom: me = mich/mir; us = uns; him = ihn/ihm; her = sie/ihr; them = sie/ihnen
somebody: I = ich; he = er; she = sie; everybody = jeder; nobody = niemand; my sister = meine Schwester
handle: cancel = stornieren; change = ändern; extend = verlängern; renew = erneuern; pay for = bezahlen;
    refuse = ablehnen
praise: good = gut; nice = nett; pleasant = angenehm; decent = anständig; great = großartig; wonderful = wunderbar;
    perfect = perfekt; excellent = ausgezeichnet
blame: bad = schlecht; boring = langweilig; annoying = nervig; slow = langsam; terrible = schrecklich;
    awful = furchtbar; horrible = grauenhaft; disgusting = widerlich
degree: very = sehr; really = wirklich; extremely = äußerst; slightly = ein wenig; somewhat = etwas; fairly = ziemlich
feel: love = liebe; enjoy = genieße; admire = bewundere; dislike = verabscheue; regret = bereue; hate = hasse
""",
    tagged=False,
)
